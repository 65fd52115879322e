"""Fractal Chebyshev learning rates."""

from __future__ import annotations

import math
from functools import cache

from optim_core.methods import REQUIRED, hyper
from optim_core.schedules import Rate, Schedule


class ChebyshevLR(Schedule):
    """The steps of Chebyshev's iteration for curvatures between m and M, in an order that keeps every stretch stable.

    ::

        eta_t = 1 / ((M + m)/2 - (M - m)/2 cos((t - 1/2) pi / T))     t = 1 ... T = total_steps
        lr at step n = base lr times eta_sigma(n)                     starting again after T steps
        sigma of 2T = a_1, 2T + 1 - a_1, a_2, 2T + 1 - a_2, ...       where sigma of T = a_1, a_2, ...; of 1: 1

    The factors lie between 1/M and 1/m: the base lr is about the smallest rate, and the very first step is the largest.
    Sorted rates would diverge; within a cycle the loss may rise.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
        >>> scheduler = ChebyshevLR(optimizer, total_steps=8)
        >>> round(scheduler.get_last_lr()[0], 4)
        0.9204

    Source: Agarwal et al., Acceleration via Fractal Learning Rate Schedules, 2021, https://arxiv.org/abs/2103.01338.
    """

    needs = frozenset({"total_steps"})

    total_steps: int = hyper(REQUIRED, "steps of a cycle, a power of two", ge=1)
    m: float = hyper(0.1, "smallest curvature", gt=0)
    M: float = hyper(1.0, "largest curvature", gt=0)

    def check(self) -> None:
        """Refuse a length for which there is no order, and an empty range."""
        super().check()
        if self.total_steps & (self.total_steps - 1):
            above = 1 << self.total_steps.bit_length()
            raise self.reject(
                f"total_steps={self.total_steps} is not a power of two, for which alone there is an order; the "
                f"nearest are {above // 2} and {above} (the cycle repeats, so it need not be as long as the training)"
            )
        if self.m >= self.M:
            raise self.reject(f"m={self.m}, the smallest curvature, must be below M={self.M}, the largest")

    def rate(self, t: int, lr: Rate, k: int) -> Rate:
        """The base lr times the factor whose turn it is."""
        del k
        return lr * _factors(self.total_steps, self.m, self.M)[t % self.total_steps]


@cache
def _factors(total_steps: int, m: float, M: float) -> tuple[float, ...]:
    """The factors of a cycle in their order; counting from 0, so that T + 1 - a becomes T - 1 - a."""
    sigma = [0]
    while len(sigma) < total_steps:
        sigma = [t for a in sigma for t in (a, 2 * len(sigma) - 1 - a)]
    return tuple(1 / ((M + m) / 2 - (M - m) / 2 * math.cos((t + 0.5) * math.pi / total_steps)) for t in sigma)
