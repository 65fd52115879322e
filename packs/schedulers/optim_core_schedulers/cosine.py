"""Cosine decay after a warm-up."""

from __future__ import annotations

import math

from optim_core_schedulers.schedule import Budgeted


class CosineScheduler(Budgeted):
    """Down along half a cosine: slow at first and at the end, after a linear warm-up if wanted.

    ::

        lr at step n, with t = n - 1, W warm-up and T total steps:
        init_lr + (max_lr - init_lr) t/W                                 t < W
        min_lr + (max_lr - min_lr) (1 + cos(pi (t - W)/(T - W)))/2       W <= t < T
        min_lr                                                           after it, where the cosine would rise again

    The first step of a warm-up has ``init_lr``, and so moves nothing by default; the top is reached at step W + 1.
    ``max_lr`` is each group's own lr unless given. The authors' class gives one rate to all groups and sets none
    before it is stepped for the first time, so that it has to be stepped before the optimizer; this one sets the first
    rate when it is built, as torch's do.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> scheduler = CosineScheduler(optimizer, total_steps=6, warmup_steps=2)
        >>> for _ in range(7):
        ...     print(round(optimizer.param_groups[0]["lr"], 3), end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        0.0 0.5 1.0 0.854 0.5 0.146 0.0

    Source: Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, 2016,
    https://arxiv.org/abs/1608.03983, equation 5, with the warm-up of the code of Zhuang et al., Surrogate Gap
    Minimization Improves Sharpness-Aware Training, 2022, https://arxiv.org/abs/2203.08065.
    """

    def curve(self, x: float) -> float:
        """Half a cosine."""
        return (1 + math.cos(math.pi * x)) / 2
