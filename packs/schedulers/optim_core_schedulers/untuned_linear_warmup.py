"""Untuned linear warm-up."""

from __future__ import annotations

from optim_core_schedulers.over import Warmup


class UntunedLinearWarmup(Warmup):
    """Linear warm-up as long as Adam's second moment needs, alone or over another schedule.

    ::

        lr at step n = (lr of the other schedule at step n, or the base lr) times min(1, n / int(2 / (1 - beta2)))

    The length follows from each group's betas. (int cuts a quotient in floating point: 1999 steps for 0.999, as in
    pytorch_warmup, where the paper's formula means 2000.) Step this scheduler only: it puts the undamped rate back,
    steps the other one and damps what that gives, so schedules that go on from the present rate are not led astray.
    Beside it in a ``ChainedScheduler`` they would be; several others go in as one ``ChainedScheduler``.

    Example:
        >>> import torch
        >>> adam = torch.optim.Adam([torch.nn.Parameter(torch.ones(1))], lr=1.0, betas=(0.9, 0.5))
        >>> scheduler = UntunedLinearWarmup(
        ...     adam, lr_scheduler=torch.optim.lr_scheduler.ExponentialLR(adam, gamma=0.5)
        ... )
        >>> for _ in range(5):
        ...     print(adam.param_groups[0]["lr"], end=" ")
        ...     adam.step()
        ...     scheduler.step()
        0.25 0.25 0.1875 0.125 0.0625

    Source: Ma and Yarats, On the adequacy of untuned warmup for adaptive optimization, 2019,
    https://arxiv.org/abs/1910.04209.
    """

    needs = frozenset({"betas"})

    def factor(self, n: int, k: int) -> float:
        """A line up to 1."""
        beta2 = self.second_beta(k, "take linear_warmup, and choose the length")
        return min(1.0, n / int(2.0 / (1.0 - beta2)))
