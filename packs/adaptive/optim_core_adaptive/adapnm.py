"""AdaPNM."""

from __future__ import annotations

from typing import Any

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core.errors import InvalidOption
from optim_core.rules import Value, gain, lerp, maximum, root, second_moment, sqrt, square


class AdaPNM(RuleOptimizer):
    """Adam with two averages of alternate gradients, one of them subtracted: more noise in the step, same direction.

    In odd steps a is the first average and b the second, in even steps the other way round; c1 = 1 - beta1^t,
    c2 = 1 - beta2^t::

        a = beta1^2 a + (1 - beta1^2) g
        v = beta2 v + (1 - beta2) g^2          (amsgrad, on by default: the denominator takes the largest v so far)
        n = sqrt((1 + beta3)^2 + beta3^2)
        p = p - lr/c1 ((1 + beta3) a - beta3 b)/n / (sqrt(v / c2) + eps)

    c1 is not exact for averages that decay every second step: the first step is 1.7 lr with the default betas. Some
    ports add eps before the correction of v, where it weighs 1/sqrt(c2) times as much. The authors decay decoupled,
    with weight_decay their L2 coefficient divided by lr: 0.5, say.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = AdaPNM([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.83, -1.83]

    Source: Xie, Yuan, Zhu and Sugiyama, Positive-Negative Momentum: Manipulating Stochastic Gradient Noise to Improve
    Generalization, 2021, Algorithm 3, https://arxiv.org/abs/2103.17182.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float, float] = hyper(
        (0.9, 0.999, 1.0), "decay of the averages of g and of its square, both < 1; size of the negative part", ge=0
    )
    eps: float = hyper(1e-8, "added to the root", ge=0)
    weight_decay: float = decoupled(0.0)
    decoupled_weight_decay: bool = hyper(True, "False: add weight_decay*p to g")
    amsgrad: bool = hyper(True, "divide by the largest average square so far")

    exp_avg = state("average of g in odd steps")
    neg_exp_avg = state("average of g in even steps")
    exp_avg_sq = state("average of g squared")
    max_exp_avg_sq = state("largest exp_avg_sq so far", when="amsgrad")

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """Refuse averages that would not decay."""
        del given
        if max(options["betas"][:2]) >= 1:
            raise InvalidOption(f"{cls.__name__}: betas={options['betas']}: the first two must be < 1, they are decays")
        return options

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        neg_exp_avg: Value,
        exp_avg_sq: Value,
        max_exp_avg_sq: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value, Value],
        eps: Value,
        amsgrad: bool,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2, beta3 = betas
        odd = bool(step % 2)
        a, b = (exp_avg, neg_exp_avg) if odd else (neg_exp_avg, exp_avg)
        a = lerp(g, a, beta1**2)
        exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
        if amsgrad:
            max_exp_avg_sq = maximum(max_exp_avg_sq, exp_avg_sq)
        c2 = 1 - beta2**step
        v = second_moment(max_exp_avg_sq if amsgrad else exp_avg_sq, c2)
        n = sqrt((1 + beta3) ** 2 + beta3**2)
        u = gain(((1 + beta3) * a - beta3 * b) / n, 1 / n) / root(v, eps, c2)
        p = p - lr / (1 - beta1**step) * u
        exp_avg, neg_exp_avg = (a, b) if odd else (b, a)
        return p, exp_avg, neg_exp_avg, exp_avg_sq, max_exp_avg_sq
