"""Momentum that warms up and cools down."""

from __future__ import annotations

from optim_core.methods import hyper
from optim_core.schedules import Rate, Schedule


class MomentumSchedule(Schedule):
    """Momentum that rises on a line at first, and falls back at the end: as Muon is trained with in the speed records.

    ::

        momentum at step n, with t = n - 1, W = warmup_steps, C = cooldown_steps and T = total_steps:
        min_momentum + (max_momentum - min_momentum) t/W               t < W
        max_momentum - (max_momentum - min_momentum) (t - T + C)/C     T - C < t < T
        min_momentum                                                   T <= t, where the original would fall on
        max_momentum                                                   otherwise

    Of a method without momentum it sets beta1. It does not look at the lr, as ``one_cycle`` and ``cyclic`` do.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0, momentum=0.9)
        >>> scheduler = MomentumSchedule(optimizer, warmup_steps=2, cooldown_steps=2, total_steps=6)
        >>> for _ in range(7):
        ...     print(round(optimizer.param_groups[0]["momentum"], 2), end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        0.85 0.9 0.95 0.95 0.95 0.9 0.85

    Source: modded-nanogpt, https://github.com/KellerJordan/modded-nanogpt, ``get_muon_momentum``.
    """

    needs = frozenset({"total_steps"})
    sets = "momentum"

    min_momentum: float = hyper(0.85, "momentum at both ends", ge=0, lt=1)
    max_momentum: float = hyper(0.95, "momentum in between", ge=0, lt=1)
    warmup_steps: int = hyper(300, "steps of the rise", ge=0)
    cooldown_steps: int = hyper(50, "steps of the fall", ge=0)
    total_steps: int | None = hyper(None, "steps of the whole, at whose end the fall ends", ge=1)

    def check(self) -> None:
        """Refuse a fall without an end."""
        super().check()
        if self.cooldown_steps and self.total_steps is None:
            raise self.reject(
                f"cooldown_steps={self.cooldown_steps} count from the end: give total_steps=..., or cooldown_steps=0"
            )

    def rate(self, t: int, lr: Rate, k: int) -> Rate:
        """Up, at the top, or down."""
        del lr, k
        lowest, rise = self.min_momentum, self.max_momentum - self.min_momentum
        if t < self.warmup_steps:
            return lowest + rise * t / self.warmup_steps
        fallen = t - self.total_steps + self.cooldown_steps if self.total_steps is not None else 0
        if not self.cooldown_steps or fallen <= 0:
            return self.max_momentum
        return self.max_momentum - rise * min(1.0, fallen / self.cooldown_steps)
