"""AdEMAMix."""

from __future__ import annotations

from typing import Any

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core.rules import Value, gain, lerp, log, root, second_moment, square


class AdEMAMix(RuleOptimizer):
    """Adam with a second, far slower average of gradients in its numerator.

    With c1 = 1 - beta1^t and c2 = 1 - beta2^t::

        p  = p (1 - lr weight_decay)
        m1 = beta1 m1 + (1 - beta1) g
        m2 = beta3 m2 + (1 - beta3) g
        v  = beta2 v + (1 - beta2) g^2
        p  = p - lr (m1 / c1 + alpha m2) / (sqrt(v / c2) + eps)

    m2 is not corrected: it comes in slowly. Over alpha_warmup steps alpha rises from 0 in proportion to t. Over
    beta3_warmup steps beta3 rises from beta1, such that its half-life grows in proportion to t: b has that of
    f(b) = ln(1/2) / ln(b + 1e-8) - 1 steps. The 1e-8 stands in the authors' code only, and makes beta1 = 0 possible,
    with which m1 is g and costs nothing; without it the numbers differ by up to 1e-6.

    The authors train with alpha = 8, both warm-ups over the whole run and weight_decay = 0.1; the default of alpha is
    their code's, while ports have 5.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = AdEMAMix([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.9]

    Source: Pagliardini, Ablin and Grangier, The AdEMAMix Optimizer: Better, Faster, Older, 2024, Algorithm 1,
    https://arxiv.org/abs/2409.03137; schedules as in the authors' code.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float, float] = hyper((0.9, 0.999, 0.9999), "decay of m1, v and m2", ge=0, lt=1)
    alpha: float = hyper(2.0, "weight of the slow average", ge=0)
    beta3_warmup: int | None = hyper(None, "steps over which the slow decay rises from beta1; None: at once", ge=1)
    alpha_warmup: int | None = hyper(None, "steps over which alpha rises from 0; None: at once", ge=1)
    eps: float = hyper(1e-8, "added to the root", ge=0)
    weight_decay: float = decoupled(0.0)
    decoupled_weight_decay: bool = hyper(True, "False: add weight_decay*p to g")

    exp_avg_fast = state("m1, average of g", when=lambda group: group["betas"][0] > 0)
    exp_avg_slow = state("m2, slow average of g")
    exp_avg_sq = state("average of g squared")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg_fast: Value | None,
        exp_avg_slow: Value,
        exp_avg_sq: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value, Value],
        alpha: Value,
        beta3_warmup: Value | None,
        alpha_warmup: Value | None,
        eps: Value,
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        beta1, beta2, beta3 = betas
        if alpha_warmup is not None and step < alpha_warmup:
            alpha = alpha * step / alpha_warmup
        if beta3_warmup is not None and step < beta3_warmup:
            beta3 = _between(beta1, beta3, step / beta3_warmup)
        fast: Any = g
        if exp_avg_fast is not None:
            fast = exp_avg_fast = lerp(g, exp_avg_fast, beta1)
        exp_avg_slow = lerp(g, exp_avg_slow, beta3)
        exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
        c2 = 1 - beta2**step
        n = gain(fast / (1 - beta1**step) + alpha * exp_avg_slow, 1 + alpha)
        p = p - lr * n / root(second_moment(exp_avg_sq, c2), eps, c2)
        return p, exp_avg_fast, exp_avg_slow, exp_avg_sq


def _between(start: Value, end: Value, share: Value) -> Value:
    """The decay whose half-life lies that share of the way from one decay's to another's."""

    def half_life(b: Value) -> Value:
        return log(0.5) / log(b + 1e-8) - 1

    return 0.5 ** (1 / ((1 - share) * half_life(start) + share * half_life(end) + 1))
