"""Adamax."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, l2, state
from optim_core.rules import Value, denominator, lerp, maximum


class Adamax(RuleOptimizer):
    """Adam that divides by the largest gradient of late instead of the root of an average square.

    ::

        m = beta1 m + (1 - beta1) g
        u = max(beta2 u, |g| + eps)
        p = p - lr m / (1 - beta1^t) / u

    So no step is longer than about lr. u starts at 0 and needs no correction. eps, which the paper does not have, is
    added to |g| inside the maximum, as in torch and optax.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = Adamax([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.9]

    Source: Kingma and Ba, Adam: A Method for Stochastic Optimization, 2014, Algorithm 2,
    https://arxiv.org/abs/1412.6980.
    """

    lr: float = hyper(2e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the average of g and of the maximum", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to |g|", ge=0)
    weight_decay: float = l2(0.0)

    exp_avg = state("average of g")
    exp_inf = state("decaying maximum of |g|")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_inf: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        exp_avg = lerp(g, exp_avg, beta1)
        exp_inf = maximum(beta2 * exp_inf, abs(g) + eps)
        return p - lr / (1 - beta1**step) * exp_avg / denominator(exp_inf), exp_avg, exp_inf
