"""Inverse-time decay."""

from __future__ import annotations

from optim_core.methods import REQUIRED, hyper
from optim_core.schedules import Rate, Schedule


class InverseTimeDecay(Schedule):
    """Down as the inverse of the time: the slowest decay with which stochastic approximation converges.

    ::

        lr at step n = base/(1 + decay_rate (n - 1)/decay_steps);  with staircase, of the whole part of the quotient

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> scheduler = InverseTimeDecay(optimizer, decay_steps=2)
        >>> for _ in range(5):
        ...     print(round(optimizer.param_groups[0]["lr"], 3), end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        1.0 0.667 0.5 0.4 0.333

    Source: Robbins and Monro, A Stochastic Approximation Method, 1951, https://doi.org/10.1214/aoms/1177729586; the
    options as in Keras' ``InverseTimeDecay``.
    """

    decay_steps: float = hyper(REQUIRED, "steps after which decay_rate counts once", gt=0)
    decay_rate: float = hyper(1.0, "what each decay_steps add to the divisor", ge=0)
    staircase: bool = hyper(False, "only after whole decay_steps")

    def rate(self, t: int, lr: Rate, k: int) -> Rate:
        """The group's lr over what has grown with the time."""
        del k
        times = t // self.decay_steps if self.staircase else t / self.decay_steps
        return lr / (1 + self.decay_rate * times)
