"""torch's own classes by name: ``torch:NAME``."""

from __future__ import annotations

import inspect
from typing import Any

from optim_core.catalog.discovery import TORCH
from optim_core.catalog.specs import Kind
from optim_core.errors import UnknownName, WrongKind
from optim_core.names import did_you_mean, normalise


def is_torch(name: str) -> bool:
    """Whether a name is one of torch's.

    Example:
        >>> is_torch("torch:asgd"), is_torch("asgd")
        (True, False)
    """
    prefix, colon, _ = name.partition(":")
    return bool(colon) and normalise(prefix) == TORCH


def torch_class(name: str, kind: Kind) -> Any:
    """The class of ``torch.optim`` or ``torch.optim.lr_scheduler`` behind ``torch:NAME``.

    Raises:
        UnknownName: torch has no such class.
        WrongKind: a wrapper was asked for.
    """
    if kind == "wrapper":
        raise WrongKind(f"{name!r}: torch has no wrappers. `optim-core list --kind wrapper` shows those there are")
    plain = name.partition(":")[2].strip()
    classes = _classes(kind)
    for known, found in classes.items():
        if normalise(known) == normalise(plain):
            return found
    module = "torch.optim" if kind == "optimizer" else "torch.optim.lr_scheduler"
    near = did_you_mean(plain, classes)
    raise UnknownName(f"{module} has no {kind} {plain!r}.{near} It has: {', '.join(sorted(classes))}")


def torch_hint(name: str, kind: Kind) -> str:
    """A word on torch's class of a name that nobody else has; empty if torch has none either."""
    found = [known for known in (_classes(kind) if kind != "wrapper" else ()) if normalise(known) == normalise(name)]
    return f". torch's own is {TORCH}:{found[0]}" if found else ""


def _classes(kind: Kind) -> dict[str, Any]:
    import torch
    from torch.optim import lr_scheduler

    module, base = (
        (torch.optim, torch.optim.Optimizer) if kind == "optimizer" else (lr_scheduler, lr_scheduler.LRScheduler)
    )
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, base) and value is not base and not name.startswith("_")
    }
