"""Warm restarts, each cycle described by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optim_core.errors import InvalidOption, UnknownOption
from optim_core.methods import REQUIRED, Hyper
from optim_core.schedules import Rate, Schedule, of_group
from optim_core_schedulers.warmup_cosine import WarmupCosine, warmed_cosine


@dataclass(frozen=True, kw_only=True)
class _Cycles(Hyper):
    """Options of WarmupCosine, for one cycle after another."""

    def check(self, value: Any, owner: str) -> Any:
        """The cycles with all their options.

        Raises:
            InvalidOption: naming the cycle.
        """
        if not isinstance(value, (list, tuple)) or not value or not all(isinstance(o, Mapping) for o in value):
            raise InvalidOption(
                f"{owner}: cycles={value!r:.60} should be a list of options of warmup_cosine, a dict for each cycle, "
                "such as [{'warmup_steps': 2, 'decay_steps': 10}]"
            )
        return [self._cycle(options, f"{owner}: cycles[{i}]") for i, options in enumerate(value)]

    def _cycle(self, options: Mapping[str, Any], owner: str) -> dict[str, Any]:
        method = WarmupCosine.method
        try:
            method.check_names(options)
            known = {name: method.hypers[name].check(value, owner) for name, value in options.items()}
            whole = method.with_defaults(known)
        except (UnknownOption, InvalidOption) as problem:
            raise InvalidOption(f"{owner}: {problem}") from None
        if whole["warmup_steps"] >= whole["decay_steps"]:
            raise InvalidOption(f"{owner}: decay_steps count the warm-up in: they should be more than warmup_steps")
        return whole


def _cycles(doc: str) -> Any:
    return _Cycles(default=REQUIRED, doc=doc)


class SGDR(Schedule):
    """Warm restarts: cycles of a warm-up and half a cosine, each with a length, a peak and an end of its own.

    ::

        lr at step n = that of WarmupCosine with the options of cycle c, at its step n - B_c
        B_c = the sum of decay_steps of the cycles before c;  the last cycle has no end, and holds its end_value

    Lengths that double are written out. ``peak_value`` is each group's own lr unless a cycle has one. The end of a
    cycle is reached one step too late to be seen: the step that would have it is the first of the next cycle.
    ``cosine_annealing_with_warm_restart`` is torch's form, with one factor for all lengths and no warm-up.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> cycle = {"warmup_steps": 1, "decay_steps": 3}
        >>> scheduler = SGDR(optimizer, cycles=[cycle, {**cycle, "decay_steps": 5, "end_value": 0.2}])
        >>> for _ in range(9):
        ...     print(round(optimizer.param_groups[0]["lr"], 3), end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        0.0 1.0 0.5 0.0 1.0 0.883 0.6 0.317 0.2

    Source: Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, 2016,
    https://arxiv.org/abs/1608.03983; cycles as in optax's ``sgdr_schedule``.
    """

    needs = frozenset({"total_steps"})

    cycles: list[dict[str, Any]] = _cycles("options of warmup_cosine, a mapping for each cycle")

    def rate(self, t: int, lr: Rate, k: int) -> Rate:
        """The rate within the cycle."""
        *others, cycle = self.cycles
        for one in others:
            if t < one["decay_steps"]:
                cycle = one
                break
            t -= one["decay_steps"]
        peak = cycle["peak_value"]
        return warmed_cosine(t, lr if peak is None else of_group(peak, k), cycle)
