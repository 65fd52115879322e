"""Untuned exponential warm-up."""

from __future__ import annotations

import math

from optim_core_schedulers.over import Warmup


class UntunedExponentialWarmup(Warmup):
    """Exponential warm-up as long as Adam's second moment needs, alone or over another schedule.

    ::

        lr at step n = (lr of the other schedule at step n, or the base lr) times 1 - exp(-n / tau)
        tau = int(1 / (1 - beta2))

    tau follows from each group's betas. (int cuts a quotient in floating point: 999 for 0.999 and 19 for 0.95, as in
    pytorch_warmup, where the paper's formula means 1000 and 20.) The factor tends to 1 without reaching it. Step this
    scheduler only, and give it the other one, as in :class:`UntunedLinearWarmup`.

    Example:
        >>> import torch
        >>> adam = torch.optim.Adam([torch.nn.Parameter(torch.ones(1))], lr=1.0, betas=(0.9, 0.5))
        >>> scheduler = UntunedExponentialWarmup(adam)
        >>> for _ in range(5):
        ...     print(round(adam.param_groups[0]["lr"], 3), end=" ")
        ...     adam.step()
        ...     scheduler.step()
        0.393 0.632 0.777 0.865 0.918

    Source: Ma and Yarats, On the adequacy of untuned warmup for adaptive optimization, 2019,
    https://arxiv.org/abs/1910.04209.
    """

    needs = frozenset({"betas"})

    def factor(self, n: int, k: int) -> float:
        """An exponential towards 1."""
        beta2 = self.second_beta(k, "take linear_warmup, and choose the length")
        return 1 - math.exp(-n / int(1.0 / (1.0 - beta2)))
