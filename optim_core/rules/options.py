"""A group's options as a rule sees them: host numbers, which are traced, and plain values that it may branch on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optim_core.rules.trace import Trace
from optim_core.rules.values import Level

#: The numbers that the core gives to every rule that takes them by keyword, beside the method's own options.
GIVEN = {
    "step": "the number of gradients that the parameter has had, this one included: 1, 2, ...",
    "first": "1.0 if the parameter's states begin with this step, else 0.0",
    "whole_step": "the number of steps of the optimizer, this one included: 1, 2, ...",
    "largest_lr": "the largest lr of all groups",
    "grad_scale": "the factor of a GradScaler, by which the core divides the gradients; or None",
    "rounding_seed": "a new random number below 2^24, if some parameters are rounded at random; or None",
}


#: A step at which warm-ups are over and averages are full.
LATE = 1_000_000


def late_numbers(lr: float | None) -> dict[str, Any]:
    """The given numbers of a step long after the start, for a look at a rule without an optimizer."""
    return dict.fromkeys(GIVEN) | {"step": LATE, "first": 0.0, "whole_step": LATE, "largest_lr": lr or 1.0}


def split(options: Mapping[str, Any]) -> tuple[dict[str, float], tuple[tuple[str, Any], ...]]:
    """Options in two parts: host numbers by name, and what a trace depends on.

    A tuple of tuples is a table, and plain: a rule hands it on to a function.

    Example:
        >>> split({"lr": 0.1, "betas": (0.9, 0.99), "nesterov": True})
        ({'lr': 0.1, 'betas[0]': 0.9, 'betas[1]': 0.99}, (('betas', 2), ('nesterov', True)))
    """
    host: dict[str, float] = {}
    fixed: list[tuple[str, Any]] = []
    for name, value in options.items():
        if _is_plain(value):
            fixed.append((name, value))
        elif isinstance(value, tuple):
            fixed.append((name, len(value)))
            host.update({f"{name}[{i}]": float(v) for i, v in enumerate(value)})
        else:
            host[name] = float(value)
    return host, tuple(fixed)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, str)) or (isinstance(value, tuple) and isinstance(value[0], tuple))


def scalars(options: Mapping[str, Any], trace: Trace) -> dict[str, Any]:
    """Options as a rule gets them: numbers as symbols, the rest as it is."""

    def symbol(name: str, value: Any) -> Any:
        if _is_plain(value):
            return value
        if isinstance(value, tuple):
            return tuple(trace.input(f"{name}[{i}]", Level.HOST) for i, _ in enumerate(value))
        return trace.input(name, Level.HOST)

    return {name: symbol(name, value) for name, value in options.items()}
