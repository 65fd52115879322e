"""DAdaptAdaGrad."""

from __future__ import annotations

import math

from optim_core import hyper, state
from optim_core.rules import Value, lerp, maximum, minimum, root, square, total, where
from optim_core_adaptive.dadaptation import OneStepSize, check_one_lr


class DAdaptAdaGrad(OneStepSize):
    """AdaGrad that finds its own step size: d, a lower bound of the distance from the starting point x0 to a solution.

    d belongs to the model as a whole; sum and | | go over all parameters; v starts at 1e-6; a = d lr::

        g = g + weight_decay p
        v = v + g^2;   D = sqrt(v) + eps
        s = s + a g
        Q = Q + a^2 sum(g^2 / D)
        d = max(d, min((sum(s^2 / D) - Q) / |s|, growth_rate d))          used from the next step on
        z = x0 - s / D
        p = momentum p + (1 - momentum) z

    Leave lr at 1. The authors advise DAdaptAdam or DAdaptSGD: this one adapts more slowly. p is made anew from x0 and s
    in each step, so with momentum = 0 a change from outside does not last. Groups with lr = 0 stand still. As in the
    authors' code both sums in d are carried along, so that a parameter without a gradient still counts.

    Raises:
        InvalidOption: at construction, and in a step, if two groups have different lr and neither is 0.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = DAdaptAdaGrad([w], d0=0.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(100)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Defazio and Mishchenko, Learning-Rate-Free Learning by D-Adaptation, 2023,
    https://arxiv.org/abs/2301.07733; in the form of the authors' package, version 3.2.
    """

    lr: float = hyper(1.0, "factor on the step size found; one value for all groups, or 0", ge=0, search=(0.1, 10.0))
    momentum: float = hyper(0.0, "weight of the old p in the new one", ge=0, lt=1)
    weight_decay: float = hyper(0.0, "L2 coefficient, added to the gradient", ge=0)
    eps: float = hyper(1e-6, "added to the root", ge=0)
    d0: float = hyper(1e-6, "first d", gt=0, common=True)
    growth_rate: float = hyper(math.inf, "largest growth of d in one step", ge=1, common=True)

    alphak = state("v, sum of g squared", start=1e-6)
    sk = state("s, sum of a*g")
    x0 = state("p at the start", start="p")
    d = state("distance", level="whole", start="d0")
    gsq_weighted = state("Q", level="whole")
    sksq_weighted = state("sum(s^2 / D)", level="whole")
    skl1 = state("|s|", level="whole")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        alphak: Value,
        sk: Value,
        x0: Value,
        d: Value,
        gsq_weighted: Value,
        sksq_weighted: Value,
        skl1: Value,
        *,
        lr: Value,
        momentum: Value,
        weight_decay: Value,
        eps: Value,
        growth_rate: Value,
        layer_scale: Value,
        largest_lr: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        check_one_lr("DAdaptAdaGrad", lr, largest_lr)
        a = d * lr
        if weight_decay:
            g = g + weight_decay * p
        old_s, old_denom = sk, root(alphak, eps)
        if lr:
            alphak = alphak + square(g)
            sk = sk + a * g
        denom = root(alphak, eps)
        gsq_weighted = gsq_weighted + total(layer_scale * square(a * g) / denom)
        sksq_weighted = sksq_weighted + total(layer_scale * (square(sk) / denom - square(old_s) / old_denom))
        skl1 = skl1 + total(layer_scale * (abs(sk) - abs(old_s)))
        new_d = maximum(d, minimum((sksq_weighted - gsq_weighted) / skl1, d * growth_rate))
        if lr:
            p = lerp(x0 - layer_scale * sk / denom, p, momentum)
        return p, alphak, sk, x0, where(skl1 > 0, new_d, d), gsq_weighted, sksq_weighted, skl1
