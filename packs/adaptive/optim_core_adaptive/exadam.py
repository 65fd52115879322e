"""EXAdam."""

from __future__ import annotations

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core.rules import Value, gain, lerp, root, second_moment, square


class EXAdam(RuleOptimizer):
    """Adam whose averages correct each other, with the present gradient beside its average.

    With c1 = 1 - beta1^t and c2 = 1 - beta2^t::

        p  = p (1 - lr weight_decay)
        m  = beta1 m + (1 - beta1) g
        v  = beta2 v + (1 - beta2) g^2
        d1 = 1 + beta2^t v / (v + eps)
        d2 = 1 + beta1^t m^2 / (m^2 + eps)
        p  = p - lr d1 (m + g) / c1 / (sqrt(v d2 / c2) + eps)

    g is divided by c1 as if it were an average, so the first steps are long: up to 16 lr by default, as if lr were ten
    times larger. Use a warm-up. d1 and d2 fade out for gradients below sqrt(eps). The authors' code is decoupled where
    its description says L2. Earlier versions of the paper had a step size by the logarithm of t; the code has not.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = EXAdam([w], lr=0.01).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.84, -1.84]

    Source: Adly, EXAdam: The Power of Adaptive Cross-Moments, 2024, Algorithm 1, https://arxiv.org/abs/2412.20302.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of its square", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root, to v and to m squared", gt=0)
    weight_decay: float = decoupled(0.0)
    decoupled_weight_decay: bool = hyper(True, "False: add weight_decay*p to g")

    exp_avg = state("average of g")
    exp_avg_sq = state("average of g squared")

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
        exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
        d1 = 1 + beta2**step * exp_avg_sq / (exp_avg_sq + eps)
        d2 = 1 + beta1**step * square(exp_avg) / (square(exp_avg) + eps)
        c2 = 1 - beta2**step
        d = root(second_moment(exp_avg_sq * d2, c2), eps, c2)
        return p - lr / (1 - beta1**step) * d1 * gain(exp_avg + g, 2.0) / d, exp_avg, exp_avg_sq
