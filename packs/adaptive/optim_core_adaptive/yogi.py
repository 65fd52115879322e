"""Yogi."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, l2, state
from optim_core.rules import Value, lerp, root, second_moment, sign, sqrt, square


class Yogi(RuleOptimizer):
    """Adam whose second moment changes by at most (1 - beta2) g^2 a step, so that rates rise slowly.

    ::

        m = beta1 m + (1 - beta1) g
        v = v - (1 - beta2) sign(v - g^2) g^2
        p = p - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps)

    Where gradients get small Adam forgets the large ones at a geometric pace; here v only loses what new gradients
    bring. The paper prints no bias correction, its authors' programs have the one above. eps is large on purpose and
    stands outside the correction; optax and two widely used ports put it inside, and let m start at
    initial_accumulator too: 5e-2 apart after 30 steps of a small problem.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = Yogi([w], lr=0.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(20)]
        >>> losses[-1] < 0.5 * losses[0]
        True

    Source: Zaheer et al., Adaptive Methods for Nonconvex Optimization, 2018, Algorithm 2,
    https://papers.nips.cc/paper/2018/hash/90365351ccc7437a1309dc64e4db32a3-Abstract.html; bias correction and first
    values as in the authors' code. Decoupled decay is an addition.
    """

    lr: float = hyper(1e-2, "step size", ge=0, search=(1e-3, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the average of g, pace of its square", ge=0, lt=1)
    eps: float = hyper(1e-3, "added to the root; the larger, the less adaptive", ge=0)
    initial_accumulator: float = hyper(1e-6, "first value of v", ge=0)
    weight_decay: float = l2(0.0)
    decoupled_weight_decay: bool = hyper(False, "shrink p by 1 - lr*weight_decay instead of adding to g")

    exp_avg = state("average of g")
    exp_avg_sq = state("v", start="initial_accumulator")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        exp_avg = lerp(g, exp_avg, beta1)
        exp_avg_sq = exp_avg_sq - (1 - beta2) * sign(exp_avg_sq - square(g)) * square(g)
        c2 = 1 - beta2**step
        lr = lr * sqrt(c2) / (1 - beta1**step)
        return p - lr * exp_avg / root(second_moment(exp_avg_sq, c2), eps, c2, outside=True), exp_avg, exp_avg_sq
