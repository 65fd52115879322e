"""Fractal Chebyshev learning rates."""

from __future__ import annotations

import math
from functools import cache

from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.optimizer import Optimizer

from optim_core.declarations import Hyper
from optim_core.errors import InvalidOption

_TOTAL_STEPS = Hyper(name="total_steps", default=None, type=int, ge=1, doc="steps of a cycle, a power of two")
_SMALLEST = Hyper(name="m", default=0.1, gt=0, doc="smallest curvature")
_LARGEST = Hyper(name="M", default=1.0, gt=0, doc="largest curvature")


class ChebyshevLR(LRScheduler):
    """The steps of Chebyshev's iteration for curvatures between m and M, in an order that keeps every stretch stable.

    ::

        eta_t = 1 / ((M + m)/2 - (M - m)/2 cos((t - 1/2) pi / T))     t = 1 ... T = total_steps
        lr at step n = base lr times eta_sigma(n)                     starting again after T steps
        sigma of 2T = a_1, 2T + 1 - a_1, a_2, 2T + 1 - a_2, ...       where sigma of T = a_1, a_2, ...; of 1: 1

    The factors lie between 1/M and 1/m: the base lr is about the smallest rate, and the very first step is the largest.
    Sorted rates would diverge; within a cycle the loss may rise.

    Args:
        optimizer: the optimizer; each group's lr is its base lr.
        total_steps: length of a cycle, a power of two.
        m: smallest curvature, > 0.
        M: largest curvature, > m.
        last_epoch: index of the last step done, -1 for none.

    Raises:
        InvalidOption: total_steps is no power of two, or not 0 < m < M.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
        >>> scheduler = ChebyshevLR(optimizer, total_steps=8)
        >>> round(scheduler.get_last_lr()[0], 4)
        0.9204

    Source: Agarwal et al., Acceleration via Fractal Learning Rate Schedules, 2021, https://arxiv.org/abs/2103.01338.
    """

    def __init__(
        self, optimizer: Optimizer, total_steps: int, m: float = 0.1, M: float = 1.0, last_epoch: int = -1
    ) -> None:
        owner = type(self).__name__
        self.total_steps: int = _TOTAL_STEPS.check(total_steps, owner)
        self.m: float = _SMALLEST.check(m, owner)
        self.M: float = _LARGEST.check(M, owner)
        if self.total_steps & (self.total_steps - 1):
            above = 1 << self.total_steps.bit_length()
            raise InvalidOption(
                f"{owner}: total_steps={total_steps} is not a power of two, for which alone there is an order; the "
                f"nearest are {above // 2} and {above} (the cycle repeats, so it need not be as long as the training)"
            )
        if self.m >= self.M:
            raise InvalidOption(f"{owner}: m={m}, the smallest curvature, must be below M={M}, the largest")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """The lr of each group at the present step."""
        factor = _factors(self.total_steps, self.m, self.M)[self.last_epoch % self.total_steps]
        return [lr * factor for lr in self.base_lrs]


@cache
def _factors(total_steps: int, m: float, M: float) -> tuple[float, ...]:
    """The factors of a cycle in their order; counting from 0, so that T + 1 - a becomes T - 1 - a."""
    sigma = [0]
    while len(sigma) < total_steps:
        sigma = [t for a in sigma for t in (a, 2 * len(sigma) - 1 - a)]
    return tuple(1 / ((M + m) / 2 - (M - m) / 2 * math.cos((t + 0.5) * math.pi / total_steps)) for t in sigma)
