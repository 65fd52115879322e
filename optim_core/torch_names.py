"""torch's own classes by name: ``torch:NAME``."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from optim_core.catalog.kinds import Kind
from optim_core.catalog.packs import TORCH
from optim_core.catalog.targets import import_target
from optim_core.errors import UnknownName, WrongKind
from optim_core.names import did_you_mean, normalise


def is_torch(name: str) -> bool:
    """Return whether a name has the form ``torch:NAME``.

    Example:
        >>> is_torch("torch:asgd"), is_torch("asgd")
        (True, False)
    """
    prefix, colon, _ = name.partition(":")
    return bool(colon) and normalise(prefix) == TORCH


def torch_class(name: str, kind: Kind) -> Any:
    """The class of torch's behind ``torch:NAME``.

    Raises:
        UnknownName: torch has no such class.
        WrongKind: torch has no classes of this kind.
    """
    if not kind.torch_module:
        raise WrongKind(
            f"{name!r}: torch has no {kind.plural}. `optim-core list --kind {kind.name}` shows the installed ones"
        )
    plain = name.partition(":")[2].strip()
    classes = _classes(kind)
    for class_name, cls in classes.items():
        if normalise(class_name) == normalise(plain):
            return cls
    near = did_you_mean(plain, classes)
    raise UnknownName(f"{kind.torch_module} has no {kind.name} {plain!r}.{near} It has: {', '.join(sorted(classes))}")


def torch_hint(name: str, kind: Kind) -> str:
    """A hint at torch's class of a name that no pack has; empty if torch has none either."""
    for class_name in _classes(kind):
        if normalise(class_name) == normalise(name):
            return f". torch's own is {TORCH}:{class_name}"
    return ""


def _classes(kind: Kind) -> dict[str, Any]:
    """torch's public classes of a kind, by name."""
    if not kind.torch_module:
        return {}
    base = import_target(kind.base)
    return {
        name: value
        for name, value in vars(importlib.import_module(kind.torch_module)).items()
        if inspect.isclass(value) and issubclass(value, base) and value is not base and not name.startswith("_")
    }
