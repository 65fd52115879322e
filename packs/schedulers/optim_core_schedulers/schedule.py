"""The bases of this pack's schedules: between two rates, up and down, within a budget of steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from optim_core.methods import REQUIRED, Hyper, hyper
from optim_core.schedules import Rate, Schedule, of_group

#: How much of the way between two values is left when a share q of the steps lies behind.
CURVES: Mapping[str, Callable[[float], float]] = {
    "none": lambda q: 1.0,
    "linear": lambda q: 1 - q,
    "cosine": lambda q: (1 + math.cos(math.pi * q)) / 2,
}


def through(points: Sequence[tuple[float, Rate]], t: int, curve: str) -> Rate:
    """The value at step t on the way through points (step, value), of which the last is held; a key of `CURVES`."""
    for (begin, first), (end, second) in pairwise(points):
        if t < end:
            left = CURVES[curve]((t - begin) / (end - begin))
            return first * left + second * (1 - left)
    return points[-1][1]


@dataclass(frozen=True, kw_only=True)
class _Listed(Hyper):
    """An option with several numbers that are not one for each group."""

    def check(self, value: Any, owner: str) -> Any:
        """The numbers as a list."""
        settled = super().check(value, owner)
        return list(settled) if isinstance(settled, tuple) else settled


def listed(default: Any, doc: str, *, ge: float | None = None) -> Any:
    """Declare an option with several numbers that are not one for each group."""
    return _Listed(default=default, doc=doc, ge=ge)


class Ranged(Schedule):
    """A schedule between a highest and a lowest rate."""

    max_lr: float | tuple[float, ...] | None = hyper(None, "highest lr, may differ by group; None: its own", ge=0)
    min_lr: float | tuple[float, ...] = hyper(0.0, "lowest lr; may differ by group", ge=0)

    def check(self) -> None:
        """Refuse a lowest rate above the highest."""
        super().check()
        for k, group in enumerate(self.optimizer.param_groups):
            high, low = self.span(group.get("initial_lr", group["lr"]), k)
            if high < low:
                raise self.reject(
                    f"min_lr={float(low):g} is above the highest lr, {float(high):g}, in parameter group {k}: lower "
                    "min_lr, which may be one for each group, or raise max_lr or the group's lr"
                )

    def span(self, lr: Rate, k: int) -> tuple[Rate, Rate]:
        """Highest and lowest rate of group k, whose own is lr."""
        return lr if self.max_lr is None else of_group(self.max_lr, k), of_group(self.min_lr, k)


class Descent(Ranged):
    """A straight way up to the highest rate, if wanted, and a way down; subclasses give its :meth:`share`."""

    warmup_steps: int = hyper(0, "steps up to the highest lr, which comes after them", ge=0)
    init_lr: float | tuple[float, ...] = hyper(0.0, "lr at the start of the warm-up; may differ by group", ge=0)

    def rate(self, t: int, lr: Rate, k: int) -> Rate:
        """Up on a line, then between the lowest and the highest rate."""
        high, low = self.span(lr, k)
        if t < self.warmup_steps:
            init: Rate = of_group(self.init_lr, k)
            return init + (high - init) * t / self.warmup_steps
        return low + (high - low) * self.share(t - self.warmup_steps)

    def share(self, t: int) -> float:
        """How much of the way between lowest and highest rate is left, t steps after the warm-up."""
        raise NotImplementedError

    def left(self, t: int, total_steps: int) -> float:
        """The share of the descent's steps that is left t steps after the warm-up; 0 from its end on."""
        return max(0.0, 1 - t / (total_steps - self.warmup_steps))

    def check_length(self, total_steps: int) -> None:
        """Refuse a warm-up that leaves nothing of the whole."""
        if self.warmup_steps >= total_steps:
            raise self.reject(
                f"warmup_steps={self.warmup_steps} leaves nothing of total_steps={total_steps}: shorten the warm-up"
            )


class Budgeted(Descent):
    """A descent that ends when the budget of steps does."""

    needs = frozenset({"total_steps"})

    total_steps: int = hyper(REQUIRED, "steps of the whole schedule", ge=1)

    def check(self) -> None:
        """Refuse a warm-up that leaves no step."""
        super().check()
        self.check_length(self.total_steps)

    def share(self, t: int) -> float:
        """From the share of the steps that lies behind."""
        return self.curve(1 - self.left(t, self.total_steps))

    def curve(self, x: float) -> float:
        """How much of the way is left when a share x of the steps lies behind: 1 at x = 0, 0 at x = 1."""
        raise NotImplementedError
