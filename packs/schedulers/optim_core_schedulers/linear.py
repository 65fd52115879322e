"""Linear decay after a warm-up."""

from __future__ import annotations

from optim_core_schedulers.schedule import Budgeted


class LinearScheduler(Budgeted):
    """Down on a straight line, after a linear warm-up if wanted.

    ::

        lr at step n, with t = n - 1, W warm-up and T total steps:
        init_lr + (max_lr - init_lr) t/W                     t < W
        max_lr - (max_lr - min_lr) (t - W)/(T - W)           W <= t < T
        min_lr                                               after it, where the line would go on below

    Warm-up, ``max_lr`` and the first step are as in :class:`CosineScheduler`. torch's ``LinearLR`` is another thing: it
    has factors for options, and its usual way is up.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> scheduler = LinearScheduler(optimizer, total_steps=4, min_lr=0.5)
        >>> for _ in range(6):
        ...     print(optimizer.param_groups[0]["lr"], end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        1.0 0.875 0.75 0.625 0.5 0.5

    Source: the code of Zhuang et al., Surrogate Gap Minimization Improves Sharpness-Aware Training, 2022,
    https://arxiv.org/abs/2203.08065.
    """

    def curve(self, x: float) -> float:
        """A straight line."""
        return 1 - x
