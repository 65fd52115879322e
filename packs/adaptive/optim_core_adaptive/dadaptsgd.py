"""DAdaptSGD."""

from __future__ import annotations

import math

from optim_core import hyper, state
from optim_core.rules import Value, dot, lerp, maximum, minimum, sqrt, square, total, where
from optim_core_adaptive.dadaptation import OneStepSize, check_one_lr


class DAdaptSGD(OneStepSize):
    """SGD that finds its own step size: d, a lower bound of the distance from the starting point x0 to a solution.

    d belongs to the model as a whole; < , > and || || are taken over all parameters; G is the norm of the first
    gradient that is not zero, without decay; a = d lr / G::

        g = g + weight_decay p
        N = N + a <g, s>
        s = s + a g
        d = max(d, min(2 N / ||s||, growth_rate d))          used from the next step on
        z = x0 - s
        p = momentum p + (1 - momentum) z

    Leave lr at 1, with the schedule that the problem wants. Groups with lr = 0 stand still and count for nothing. p is
    made anew from x0 and s in each step, so with momentum = 0 a change from outside does not last. A first gradient of
    zero, by which the authors' code divides, is waited out. DAdaptAdam and Prodigy have decayed sums instead, which
    suit long runs better.

    Raises:
        InvalidOption: at construction, and in a step, if two groups have different lr and neither is 0.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = DAdaptSGD([w], d0=0.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(50)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Defazio and Mishchenko, Learning-Rate-Free Learning by D-Adaptation, 2023,
    https://arxiv.org/abs/2301.07733; in the form of the authors' package, version 3.2.
    """

    lr: float = hyper(1.0, "factor on the step size found; one value for all groups, or 0", ge=0, search=(0.1, 10.0))
    momentum: float = hyper(0.0, "weight of the old p in the new one", ge=0, lt=1)
    weight_decay: float = hyper(0.0, "L2 coefficient, added to the gradient", ge=0)
    d0: float = hyper(1e-6, "first d", gt=0, common=True)
    growth_rate: float = hyper(math.inf, "largest growth of d in one step", ge=1, common=True)

    s = state("sum of a*g")
    x0 = state("p at the start", start="p")
    d = state("distance", level="whole", start="d0")
    numerator_weighted = state("N", level="whole")
    g0_norm = state("G", level="whole")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        s: Value,
        x0: Value,
        d: Value,
        numerator_weighted: Value,
        g0_norm: Value,
        *,
        lr: Value,
        momentum: Value,
        weight_decay: Value,
        growth_rate: Value,
        layer_scale: Value,
        largest_lr: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        check_one_lr("DAdaptSGD", lr, largest_lr)
        g0_norm = where(g0_norm > 0, g0_norm, sqrt(total(layer_scale * square(g) if lr else 0 * g)))
        a = where(g0_norm > 0, d * lr / g0_norm, 0.0)
        if weight_decay:
            g = g + weight_decay * p
        numerator_weighted = numerator_weighted + total(a * layer_scale * dot(g, s))
        s = s + a * g
        s_norm = sqrt(total(layer_scale * square(s) if lr else 0 * s))
        new_d = maximum(d, minimum(2 * numerator_weighted / s_norm, d * growth_rate))
        if lr:
            p = lerp(x0 - layer_scale * s, p, momentum)
        return p, s, x0, where(s_norm > 0, new_d, d), numerator_weighted, g0_norm
