"""The reflected exponential schedule."""

from __future__ import annotations

from optim_core_schedulers.schedule import Budgeted


class REXScheduler(Budgeted):
    """Down on a curve that stays above the line and falls steeply at the end: made for short budgets.

    ::

        lr at step n = min_lr + (max_lr - min_lr) (1 - x)/(1 - x/2)      x = (n - 1)/T, T = total_steps
                       and min_lr after step T

    A linear warm-up of W steps, which is not in the paper, goes from ``init_lr`` to ``max_lr``, and then
    x = (n - 1 - W)/(T - W). ``max_lr`` is each group's own lr unless given.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> scheduler = REXScheduler(optimizer, total_steps=4)
        >>> for _ in range(5):
        ...     print(round(optimizer.param_groups[0]["lr"], 3), end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        1.0 0.857 0.667 0.4 0.0

    Source: Chen et al., REX: Revisiting Budgeted Training with an Improved Schedule, 2021,
    https://arxiv.org/abs/2107.04197.
    """

    def curve(self, x: float) -> float:
        """The reflected exponential."""
        return (1 - x) / (1 - x / 2)
