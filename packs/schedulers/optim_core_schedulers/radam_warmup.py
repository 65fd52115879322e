"""The warm-up of RAdam, for other optimizers."""

from __future__ import annotations

import math
from functools import cache

from optim_core_schedulers.over import Warmup


class RAdamWarmup(Warmup):
    """Adam's lr times RAdam's rectification, alone or over another schedule.

    ::

        rho(t) = rho_inf - 2 t beta2^t / (1 - beta2^t),     rho_inf = 2/(1 - beta2) - 1
        t = n - 1 + the smallest t >= 1 at which rho(t) > 4
        lr at step n = (lr of the other schedule at step n, or the base lr) times
                       sqrt( (rho - 4)(rho - 2) rho_inf / ((rho_inf - 4)(rho_inf - 2) rho) )     rho = rho(t)

    beta2 is that of each group, and more than 0.6: below that rho never exceeds 4. It is not the same as running
    RAdam, which takes unadapted steps until rho is large enough (about 5), and does not shift t. Do not put it on
    RAdam itself. Step this scheduler only, and give it the other one, as in :class:`UntunedLinearWarmup`.

    Example:
        >>> import torch
        >>> adam = torch.optim.Adam([torch.nn.Parameter(torch.ones(1))], lr=1.0, betas=(0.9, 0.9))
        >>> scheduler = RAdamWarmup(adam)
        >>> for _ in range(5):
        ...     print(round(adam.param_groups[0]["lr"], 3), end=" ")
        ...     adam.step()
        ...     scheduler.step()
        0.156 0.255 0.33 0.392 0.446

    Source: Liu et al., On the Variance of the Adaptive Learning Rate and Beyond, 2019,
    https://arxiv.org/abs/1908.03265, Algorithm 2; as a warm-up in Ma and Yarats, On the adequacy of untuned warmup
    for adaptive optimization, 2019, https://arxiv.org/abs/1910.04209.
    """

    needs = frozenset({"betas"})

    def factor(self, n: int, k: int) -> float:
        """The rectification, from the first step on at which it exists."""
        beta2 = self.second_beta(k, "take linear_warmup, and choose the length")
        if beta2 <= 0.6:
            raise self.reject(
                f"beta2={beta2:g} in parameter group {k}: up to 0.6 there is no rectification. A larger beta2 is usual "
                "with Adam (0.999); otherwise take untuned_linear_warmup"
            )
        rho_inf, rho = 2 / (1 - beta2) - 1, _rho(beta2, n - 1 + _first(beta2))
        return math.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))


def _rho(beta2: float, t: int) -> float:
    return 2 / (1 - beta2) - 1 - 2 * t * beta2**t / (1 - beta2**t)


@cache
def _first(beta2: float) -> int:
    t = 1
    while _rho(beta2, t) <= 4:
        t += 1
    return t
