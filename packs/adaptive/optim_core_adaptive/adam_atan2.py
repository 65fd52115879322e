"""Adam-atan2."""

from __future__ import annotations

from typing import Any

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, atan2, lerp, maximum, mean, sqrt, square, where
from optim_core_adaptive.first_lr import with_first_lr


class AdamAtan2(RuleOptimizer):
    """Adam without eps: atan2 takes the place of the quotient, so that the scale of gradients does not matter at all.

    With c1 = 1 - beta1^t and c2 = 1 - beta2^t::

        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2
        u = atan2( m / c1, b sqrt(v / c2) )
        p = p - lr a u

    For small quotients u is (m / c1) / (b sqrt(v / c2)), and never more than pi/2; a = 1.27, about 4/pi, makes the
    first step lr. Where all gradients have been 0, u is 0. cautious_factor is what remains of elements of u that point
    against g, before u is divided by the mean of these factors: 1 for all of it. Decay is decoupled, by
    lr weight_decay p; cautious_weight_decay leaves it out where u points away from 0. regen_rate pulls towards the
    weights that p had at first, by lr regen_rate, from the second step on; it costs a copy of p.

    With independent_weight_decay both are by lr / base_lr in the place of lr, base_lr being the lr that the group had
    when it was added; the reference takes the constructor's for all groups. It also refuses lr = 0, and decay together
    with regen_rate; here both are taken. In float32 v vanishes for gradients below 4e-22, and u is pi/2 then.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = AdamAtan2([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.9]

    Source: Everett et al., Scaling Exponents Across Parameterizations and Optimizers, 2024, section 4.3,
    https://arxiv.org/abs/2407.05872; options as in lucidrains/adam-atan2-pytorch, the paper having no code.
    """

    lr: float = hyper(1e-4, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.99), "decay of the averages of g and of its square", ge=0, lt=1)
    weight_decay: float = hyper(0.0, "decoupled decay, times lr", ge=0)
    regen_rate: float = hyper(0.0, "pull towards the first weights, times lr", ge=0)
    independent_weight_decay: bool = hyper(False, "decay and pull by lr/base_lr instead of lr")
    cautious_weight_decay: bool = hyper(False, "decay only where it and the update point the same way")
    cautious_factor: float = hyper(1.0, "factor of elements of the update that point against g", ge=0, le=1)
    a: float = hyper(1.27, "factor of the angle", gt=0)
    b: float = hyper(1.0, "factor of the root", gt=0)
    base_lr: float | None = hyper(None, "lr for which independent decay is meant; None for the group's first", ge=0)

    exp_avg = state("average of g")
    exp_avg_sq = state("average of g squared")
    param_init = state("p at the start", start="p", when="regen_rate")

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """Remember the first lr."""
        return with_first_lr(options, given)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        param_init: Value | None,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        weight_decay: Value,
        regen_rate: Value,
        independent_weight_decay: bool,
        cautious_weight_decay: bool,
        cautious_factor: Value,
        a: Value,
        b: Value,
        base_lr: Value,
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        beta1, beta2 = betas
        slow = lr / base_lr if independent_weight_decay and base_lr else lr
        if param_init is not None and step > 1:
            p = lerp(p, param_init, slow * regen_rate)
        exp_avg = lerp(g, exp_avg, beta1)
        exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
        u = atan2(exp_avg / (1 - beta1**step), b * sqrt(exp_avg_sq) / sqrt(1 - beta2**step))
        if cautious_factor < 1:
            share = where(u * g > 0, 1.0, cautious_factor)
            u = u * share / maximum(mean(share), 1e-5)
        if weight_decay:
            shrink = slow * weight_decay
            p = p * (1 - (where(u * p > 0, shrink, 0.0) if cautious_weight_decay else shrink))
        return p - lr * a * u, exp_avg, exp_avg_sq, param_init
