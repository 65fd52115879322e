"""Hyperbolic-tangent decay."""

from __future__ import annotations

import math

from optim_core.methods import hyper
from optim_core.schedules import Rate
from optim_core_schedulers.cycles import Cycles


class TanhDecay(Cycles):
    """Down along a hyperbolic tangent: long at the top, a steep middle, long at the bottom; in cycles if wanted.

    ::

        at step j of cycle c, of length l, with q = j/l:
        lr = lr_min + (base cycle_decay^c - lr_min) (1 - tanh(lb (1 - q) + ub q))/2

    Cycles and warm-up are those of :class:`CosineCycles`, but that the warm-up leads to where the curve then is, so
    that nothing jumps. The curve begins and ends a little short of its ends: with ub = 3 the last step before
    ``lr_min`` has 0.0025 of the way left. The very first step has the base lr itself.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> scheduler = TanhDecay(optimizer, t_initial=5, lb=-6.0)
        >>> for _ in range(6):
        ...     print(round(optimizer.param_groups[0]["lr"], 3), end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        1.0 1.0 0.992 0.769 0.083 0.0

    Source: Hsueh, Li and Wu, Stochastic Gradient Descent with Hyperbolic-Tangent Decay on Classification, 2018,
    https://arxiv.org/abs/1806.01593; cycles as timm has them.
    """

    lb: float = hyper(-7.0, "where the argument of tanh begins")
    ub: float = hyper(3.0, "where it ends")

    def check(self) -> None:
        """Refuse an argument that falls."""
        super().check()
        if self.lb >= self.ub:
            raise self.reject(f"lb={self.lb:g} must be below ub={self.ub:g}, or the lr would rise")

    def rate(self, t: int, lr: Rate, k: int) -> Rate:
        """The base lr at first, unless it is warmed up."""
        return lr if t == 0 and not self.warmup_t else super().rate(t, lr, k)

    def warmup_end(self, lr: Rate, k: int) -> Rate:
        """The curve, if it runs underneath."""
        return lr if self.warmup_prefix else self.cycled(self.warmup_t, lr, k)

    def share(self, q: float) -> float:
        """A hyperbolic tangent."""
        return (1 - math.tanh(self.lb * (1 - q) + self.ub * q)) / 2
