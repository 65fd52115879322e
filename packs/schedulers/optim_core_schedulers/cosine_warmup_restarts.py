"""Cosine annealing with warm restarts, each after a warm-up."""

from __future__ import annotations

import math

from optim_core.methods import REQUIRED, hyper
from optim_core.schedules import Rate
from optim_core_schedulers.schedule import Ranged


class CosineAnnealingWarmupRestarts(Ranged):
    """Cycles of a linear warm-up and half a cosine down, longer and lower from one to the next if wanted.

    ::

        at step i = 0, 1, ... of cycle c = 0, 1, ..., with W warm-up and L steps in the cycle:
        top = max_lr gamma^c
        lr = min_lr + (top - min_lr) i/W                                       i < W
             min_lr + (top - min_lr) (1 + cos(pi (i - W)/(L - W)))/2           after it
        next L = int((L - W) cycle_mult) + W, at least W + 1

    ``max_lr`` is each group's own lr unless given; the code that this follows has 0.1 for every group. Without a
    warm-up a cycle starts at the top, the first as all others: that code forces the very first rate down to
    ``min_lr``. The top does not fall below ``min_lr``. torch's ``CosineAnnealingWarmRestarts`` has no warm-up and no
    ``gamma``, and whole multiples only.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> scheduler = CosineAnnealingWarmupRestarts(
        ...     optimizer, first_cycle_steps=4, warmup_steps=2, min_lr=0.0, gamma=0.5
        ... )
        >>> for _ in range(8):
        ...     print(round(optimizer.param_groups[0]["lr"], 3), end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        0.0 0.5 1.0 0.5 0.0 0.25 0.5 0.25

    Source: Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, 2016,
    https://arxiv.org/abs/1608.03983; warm-up and gamma from https://github.com/katsura-jp/pytorch-cosine-annealing-with-warmup.
    """

    first_cycle_steps: int = hyper(REQUIRED, "steps of the first cycle, its warm-up included", ge=1)
    cycle_mult: float = hyper(1.0, "growth of the cosine's length from cycle to cycle", gt=0)
    min_lr: float | tuple[float, ...] = hyper(0.001, "lowest lr; may differ by group", ge=0)
    warmup_steps: int = hyper(0, "steps of the warm-up in each cycle", ge=0)
    gamma: float = hyper(1.0, "factor of the highest lr from cycle to cycle", gt=0)

    def check(self) -> None:
        """Refuse a first cycle that is all warm-up."""
        super().check()
        if self.warmup_steps >= self.first_cycle_steps:
            raise self.reject(
                f"warmup_steps={self.warmup_steps} leaves nothing of first_cycle_steps={self.first_cycle_steps}, "
                "which count the warm-up in"
            )

    def rate(self, t: int, lr: Rate, k: int) -> Rate:
        """Up or down within the cycle."""
        high, low = self.span(lr, k)
        cycle, i, length = self._place(t)
        top = max(low, high * self.gamma**cycle)
        if i < self.warmup_steps:
            return low + (top - low) * i / self.warmup_steps
        x = (i - self.warmup_steps) / (length - self.warmup_steps)
        return low + (top - low) * (1 + math.cos(math.pi * x)) / 2

    def _place(self, t: int) -> tuple[int, int, int]:
        """Number of the cycle, steps done in it, its length."""
        cycle, length = 0, self.first_cycle_steps
        while t >= length:
            following = max(1, int((length - self.warmup_steps) * self.cycle_mult)) + self.warmup_steps
            if following == length:  # and so for ever
                return cycle + t // length, t % length, length
            cycle, t, length = cycle + 1, t - length, following
        return cycle, t, length
