"""Aida."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, l2, state
from optim_core.rules import Value, dot, lerp, root, second_moment, square


class Aida(RuleOptimizer):
    """AdaBelief whose spread is taken after gradient and average have been projected onto each other, k times.

    With c1 = 1 - beta1^t, c2 = 1 - beta2^t, products and norms over the whole tensor::

        m = beta1 m + (1 - beta1) g
        a, c = g, m;  k times:  a, c = the projection of c on a, that of a on c      xi added to their squared norms
        v = beta2 v + (1 - beta2) (c - a)^2 + eps
        p = p - lr (m / c1) / sqrt(v / c2)

    eps stays in v, and nothing is added to the root: ports that add it there differ visibly. The projections shrink the
    spread, and bring the step sizes of a layer closer together. With k = 0, and for single numbers, it is AdaBelief. m
    at right angles to g leaves no spread: steps grow up to lr m / sqrt(eps).

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = Aida([w], lr=0.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(50)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Zhang, Niwa and Kleijn, On Exploiting Layerwise Gradient Statistics for Effective Training of Deep Neural
    Networks, 2022, Algorithm 1, https://arxiv.org/abs/2203.13273; written from facts about the authors' code, which has
    no licence.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of the spread", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to v, where it stays", ge=0)
    weight_decay: float = l2(0.0)
    decoupled_weight_decay: bool = hyper(False, "shrink p by 1 - lr*weight_decay instead of adding to g")
    k: int = hyper(2, "number of projections onto each other", ge=0)
    xi: float = hyper(1e-20, "added to squared norms in the projections", gt=0)

    exp_avg = state("average of g")
    exp_avg_var = state("average of the squared spread")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_var: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        k: Value,
        xi: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        exp_avg = lerp(g, exp_avg, beta1)
        a, c = g, exp_avg
        for _ in range(int(k)):
            s = dot(a, c)
            a, c = s / (dot(a, a) + xi) * a, s / (dot(c, c) + xi) * c
        exp_avg_var = lerp(square(c - a), exp_avg_var, beta2) + eps
        c2 = 1 - beta2**step
        p = p - lr / (1 - beta1**step) * exp_avg / root(second_moment(exp_avg_var, c2), None, c2)
        return p, exp_avg, exp_avg_var
