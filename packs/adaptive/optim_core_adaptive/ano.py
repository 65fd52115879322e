"""Ano."""

from __future__ import annotations

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core.rules import Value, denominator, lerp, log, maximum, second_moment, sign, sqrt, square


class Ano(RuleOptimizer):
    """The direction from the sign of the average gradient, the length from the present one.

    With c2 = 1 - beta2^t::

        p = p (1 - lr weight_decay)
        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) sign(g^2 - v) g^2
        p = p - lr |g| sign(m) / sqrt(v / c2 + eps)

    v goes towards g^2 by the size of g^2, as in Yogi, but decays besides; eps is inside the root, so that no
    denominator is below 1e-4 (ports have it outside). Where a gradient is 0 nothing moves, whatever the average. For
    beta2 < 1/2 v may fall below 0, which counts as 0 here. logarithmic_schedule is the authors' Anolog: beta1 =
    1 - 1 / ln(max(2, t)), which is below 0 in the first two steps, as in their code.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = Ano([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.9]

    Source: Kegreisz, Ano: Faster is Better in Noisy Landscapes, 2025, Algorithm 1, https://arxiv.org/abs/2508.18258.
    """

    lr: float = hyper(1e-4, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.92, 0.99), "decay of the averages of g and of its square", ge=0, lt=1)
    eps: float = hyper(1e-8, "added inside the root", gt=0)
    weight_decay: float = decoupled(0.0)
    decoupled_weight_decay: bool = hyper(True, "False: add weight_decay*p to g")
    logarithmic_schedule: bool = hyper(False, "beta1 from the step count (Anolog)")

    exp_avg = state("average of g")
    exp_avg_sq = state("additive average of g squared")

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
        logarithmic_schedule: bool,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        if logarithmic_schedule:
            beta1 = 1 - 1 / log(maximum(2, step))
        exp_avg = lerp(g, exp_avg, beta1)
        exp_avg_sq = lerp(sign(square(g) - exp_avg_sq) * square(g), exp_avg_sq, beta2)
        v, c2 = maximum(exp_avg_sq, 0.0), 1 - beta2**step
        d = denominator(sqrt(second_moment(v, c2) / c2 + eps), bare=sqrt(v), correction=c2)
        return p - lr * abs(g) * sign(exp_avg) / d, exp_avg, exp_avg_sq
