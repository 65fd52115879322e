"""DAdaptAdan."""

from __future__ import annotations

import math

from optim_core import hyper, state
from optim_core.rules import Value, gain, lerp, maximum, minimum, root, second_moment, square, total, where
from optim_core_adaptive.dadaptation import OneStepSize, check_one_lr


class DAdaptAdan(OneStepSize):
    """Adan that finds its own step size: d, a lower bound of the distance from the starting point to a solution.

    d belongs to the model as a whole; sum and | | go over all parameters; h is the gradient of the step before (g
    itself in the first step); a = d lr::

        y = g - h;   u = g + beta2 y
        m = beta1 m + (1 - beta1) a g
        v = beta2 v + (1 - beta2) a y
        n = beta3 n + (1 - beta3) u^2;   D = sqrt(n) + eps
        s = beta3 s + (1 - beta3) a g
        Q = beta3 Q + (1 - beta3) a^2 sum(g^2 / D)
        d = max(d, min((sum(s^2 / D) / (1 - beta3) - Q) / |s|, growth_rate d))       used from the next step on
        p = (p - (m + beta2 v) / D) / (1 + a weight_decay)
        no_prox:  p = p (1 - a weight_decay) - (m + beta2 v) / D

    Leave lr at 1. The authors call it experimental: on small problems d overshoots unless growth_rate is limited.
    Unlike Adan it corrects no bias. Its estimate of d is that of the package's first versions, not DAdaptAdam's.
    Groups with lr = 0 stand still and count for nothing. One port squares u twice.

    Raises:
        InvalidOption: at construction, and in a step, if two groups have different lr and neither is 0.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = DAdaptAdan([w], d0=1e-2, growth_rate=1.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(50)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Defazio and Mishchenko, Learning-Rate-Free Learning by D-Adaptation, 2023,
    https://arxiv.org/abs/2301.07733; Adan as in the authors' package, version 3.2.
    """

    lr: float = hyper(1.0, "factor on the step size found; one value for all groups, or 0", ge=0, search=(0.1, 10.0))
    betas: tuple[float, float, float] = hyper(
        (0.98, 0.92, 0.99), "decay of the averages m, v and n", ge=0, lt=1, common=True
    )
    eps: float = hyper(1e-8, "added to the root", gt=0)
    weight_decay: float = hyper(0.02, "proximal decay, times the step size found", ge=0)
    no_prox: bool = hyper(False, "decay as AdamW does, before the step")
    d0: float = hyper(1e-6, "first d", gt=0, common=True)
    growth_rate: float = hyper(math.inf, "largest growth of d in one step", ge=1, common=True)

    exp_avg = state("average of d*lr*g")
    exp_avg_diff = state("average of d*lr*(g - previous_grad)")
    exp_avg_sq = state("average of the squared look-ahead gradient")
    s = state("average of d*lr*g, with beta3")
    previous_grad = state("g of the step before")
    d = state("distance", level="whole", start="d0")
    gsq_weighted = state("Q", level="whole")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_diff: Value,
        exp_avg_sq: Value,
        s: Value,
        previous_grad: Value,
        d: Value,
        gsq_weighted: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value, Value],
        eps: Value,
        weight_decay: Value,
        no_prox: bool,
        growth_rate: Value,
        first: Value,
        layer_scale: Value,
        largest_lr: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        check_one_lr("DAdaptAdan", lr, largest_lr)
        beta1, beta2, beta3 = betas
        a = d * lr
        y = g - (g if first else previous_grad)
        if lr:
            exp_avg = lerp(a * g, exp_avg, beta1)
            exp_avg_diff = lerp(a * y, exp_avg_diff, beta2)
            exp_avg_sq = lerp(square(g + beta2 * y), exp_avg_sq, beta3)
            s = beta3 * s + (1 - beta3) * a * g
        denom = root(second_moment(exp_avg_sq), eps)
        gsq_weighted = lerp(total(layer_scale * square(a * g) / denom), gsq_weighted, beta3)
        s_sq = total(layer_scale * square(s) / denom if lr else 0 * s)
        s_norm = total(layer_scale * abs(s) if lr else 0 * s)
        new_d = maximum(d, minimum((s_sq / (1 - beta3) - gsq_weighted) / s_norm, d * growth_rate))
        if lr:
            decay = where(s_norm > 0, a, 0.0) * weight_decay
            x = gain(layer_scale * (exp_avg + beta2 * exp_avg_diff), d * layer_scale) / denom
            p = p * (1 - decay) - x if no_prox else (p - x) / (1 + decay)
        return p, exp_avg, exp_avg_diff, exp_avg_sq, s, g, where(s_norm > 0, new_d, d), gsq_weighted
