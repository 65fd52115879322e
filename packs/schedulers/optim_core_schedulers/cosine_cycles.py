"""Cosine cycles, with a k-decay if wanted."""

from __future__ import annotations

from optim_core.methods import hyper
from optim_core_schedulers.cycles import Cycles
from optim_core_schedulers.schedule import CURVES


class CosineCycles(Cycles):
    """Half a cosine down, again and again if wanted, after one warm-up; the schedule that timm trains with.

    ::

        lr at step n, with t = n - 1 and W = warmup_t:
        warmup_lr_init + (base - warmup_lr_init) t/W                                          t < W
        lr_min + (base cycle_decay^c - lr_min) (1 + cos(pi (j/l)^k))/2     at step j of cycle c, of length l
        lr_min                                                             after cycle_limit cycles
        l = t_initial cycle_mul^c,  k = k_decay

    Without ``warmup_prefix`` the cosine has run underneath the warm-up, so the lr drops a little when that ends.
    ``k_decay`` above 1 keeps the lr high for longer. timm counts epochs unless told otherwise; here a step is a call
    of ``step()``. Unlike ``cosine_warmup_restarts`` this warms up once.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> scheduler = CosineCycles(optimizer, t_initial=2, cycle_mul=2.0, cycle_decay=0.5, cycle_limit=2)
        >>> for _ in range(7):
        ...     print(round(optimizer.param_groups[0]["lr"], 3), end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        1.0 0.5 0.5 0.427 0.25 0.073 0.0

    Source: Zhang and Li, k-decay: A New Method For Learning Rate Schedule, 2020, https://arxiv.org/abs/2004.05909;
    cycles from Loshchilov and Hutter, SGDR, 2016, https://arxiv.org/abs/1608.03983, as timm has them.
    """

    k_decay: float = hyper(1.0, "power of the time within a cycle", gt=0)

    def share(self, q: float) -> float:
        """Half a cosine over a power of the time."""
        return CURVES["cosine"](q**self.k_decay)
