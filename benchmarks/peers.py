"""Who else has a method: classes of the same name in other libraries, and the settings each can run with."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from optim_core.catalog.specs import Spec
from optim_core.names import normalise

#: Options of a constructor that change how fast a step is, and nothing else.
SPEED = ("foreach", "fused", "compile", "compiled", "triton", "use_triton")

#: Arguments without a default that constructors ask for.
REQUIRED: Mapping[str, Any] = {"num_iterations": 10_000, "total_steps": 10_000, "max_iters": 10_000}

#: Names that mean one thing in the library and another in the packs.
OTHER_METHODS: Mapping[tuple[str, str], str] = {
    ("torch", "asgd"): "averages the weights of plain SGD; what the packs call asgd finds its own step size",
}


def classes(namespace: object, *, own: str) -> dict[str, type[torch.optim.Optimizer]]:
    """The optimizers of a library, by their normalised class name.

    Args:
        namespace: the module that offers them.
        own: what the module of a class begins with if the class is the library's own, not another's passed on.
    """
    return {
        normalise(name): value
        for name, value in sorted(vars(namespace).items())
        if inspect.isclass(value)
        and issubclass(value, torch.optim.Optimizer)
        and value is not torch.optim.Optimizer
        and value.__module__.partition(".")[0] == own
    }


def peer(spec: Spec, found: Mapping[str, type[torch.optim.Optimizer]], library: str) -> Any:
    """The library's class for a method, by its name, class name or aliases, in that order; None if it has none."""
    for name in (spec.name, spec.class_name, *spec.aliases):
        form = normalise(name)
        if form in found and (library, form) not in OTHER_METHODS:
            return found[form]
    return None


def settings(cls: Any, speed: Iterable[str] = SPEED) -> list[dict[str, Any]]:
    """The options with which to construct a class, one dict for each way that it can run.

    Example:
        >>> settings(torch.optim.AdamW)
        [{'foreach': False}, {'foreach': True}, {'fused': True}]
        >>> settings(torch.optim.SparseAdam)
        [{}]
    """
    taken = inspect.signature(cls).parameters
    needed = {name: value for name, value in REQUIRED.items() if _is_required(taken.get(name))}
    flags = [name for name in speed if name in taken]
    ways: list[dict[str, Any]] = [{"foreach": False}, {"foreach": True}] if "foreach" in flags else [{}]
    ways += [{name: True} for name in flags if name != "foreach"]
    return [needed | way for way in ways]


def _is_required(parameter: inspect.Parameter | None) -> bool:
    return parameter is not None and parameter.default is parameter.empty


def described(way: Mapping[str, Any]) -> str:
    """A setting in words.

    Example:
        >>> described({"foreach": True}), described({"num_iterations": 10_000}), described({"fused": True})
        ('foreach', '', 'fused')
    """
    words = [("" if value else "no ") + name for name, value in way.items() if name in SPEED]
    return ", ".join(words).replace("no foreach", "single tensor")
