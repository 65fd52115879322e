"""DAdaptAdam."""

from __future__ import annotations

import math

from optim_core import hyper, state
from optim_core.rules import Value, dot, gain, lerp, maximum, minimum, root, second_moment, sqrt, square, total, where
from optim_core_adaptive.dadaptation import OneStepSize, check_one_lr


class DAdaptAdam(OneStepSize):
    """Adam that finds its own step size: d, a lower bound of the distance from the starting point to a solution.

    d belongs to the model as a whole; < , > and | | are sums over all parameters; b = sqrt(beta2); a = d lr (with
    use_bias_correction times sqrt(1 - beta2^k) / (1 - beta1^k)); c is layer_scale::

        N = b N + (1 - b) a c <g, s / (sqrt(v) + eps)>       v and s of the step before
        m = beta1 m + (1 - beta1) a c g
        v = beta2 v + (1 - beta2) g^2
        s = b s + (1 - b) a g
        d = max(d, min(N / ((1 - b) c |s|), growth_rate d))  used from the next step on
        p = p - m / (sqrt(v) + eps)                          decoupled: first  p = p (1 - a weight_decay)

    Leave lr at 1, with the schedule that the problem wants; if training is unstable, growth_rate=1.02 acts like a
    warm-up. The step size stands inside m: each gradient keeps the d of its own time. To give a group a step size of
    its own, set its layer_scale; groups with lr = 0 stand still (the authors' code still decays them) and count for
    nothing. A step in which no gradient counts changes neither d nor p. Version 2 of the authors' package had another
    estimate of d, and so other numbers.

    Raises:
        InvalidOption: at construction, and in a step, if two groups have different lr and neither is 0.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = DAdaptAdam([w], d0=1e-2, growth_rate=1.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(50)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Defazio and Mishchenko, Learning-Rate-Free Learning by D-Adaptation, 2023,
    https://arxiv.org/abs/2301.07733; in the form of the authors' package, version 3.2.
    """

    lr: float = hyper(1.0, "factor on the step size found; one value for all groups, or 0", ge=0, search=(0.1, 10.0))
    betas: tuple[float, float] = hyper(
        (0.9, 0.999), "decay of the averages of g and of its square", ge=0, lt=1, common=True
    )
    eps: float = hyper(1e-8, "added to the root", gt=0)
    weight_decay: float = hyper(0.0, "L2, added to the gradient; or decoupled, times the step size found", ge=0)
    decoupled_weight_decay: bool = hyper(False, "shrink p by 1 - d*lr*weight_decay instead of adding to g")
    use_bias_correction: bool = hyper(False, "Adam's bias correction, on the step size", common=True)
    d0: float = hyper(1e-6, "first d", gt=0, common=True)
    growth_rate: float = hyper(math.inf, "largest growth of d in one step", ge=1, common=True)

    exp_avg = state("average of d*lr*g")
    exp_avg_sq = state("average of g squared")
    s = state("average of d*lr*g, slower")
    d = state("distance", level="whole", start="d0")
    numerator_weighted = state("N", level="whole")
    k = state("number of steps that counted", level="whole")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        s: Value,
        d: Value,
        numerator_weighted: Value,
        k: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        weight_decay: Value,
        decoupled_weight_decay: bool,
        use_bias_correction: bool,
        growth_rate: Value,
        layer_scale: Value,
        largest_lr: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        check_one_lr("DAdaptAdam", lr, largest_lr)
        beta1, beta2 = betas
        b = sqrt(beta2)
        a = d * lr
        if use_bias_correction:
            a = a * sqrt(1 - beta2 ** (k + 1)) / (1 - beta1 ** (k + 1))
        if weight_decay and not decoupled_weight_decay:
            g = g + weight_decay * p
        numerator = total(a * layer_scale * dot(g, s / root(exp_avg_sq, eps)))
        if lr:
            exp_avg = lerp(a * layer_scale * g, exp_avg, beta1)
            exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
            s = b * s + (1 - b) * a * g
        second_moment(exp_avg_sq)
        s_norm = total(layer_scale * abs(s) if lr else 0 * s)
        counts = s_norm > 0
        numerator = lerp(numerator, numerator_weighted, b)
        new_d = maximum(d, minimum(numerator / ((1 - b) * s_norm), d * growth_rate))
        if lr:
            if weight_decay and decoupled_weight_decay:
                p = p * (1 - where(counts, a, 0.0) * weight_decay)
            p = p - gain(exp_avg, d * layer_scale) / root(exp_avg_sq, eps)
        numerator_weighted = where(counts, numerator, numerator_weighted)
        return p, exp_avg, exp_avg_sq, s, where(counts, new_d, d), numerator_weighted, where(counts, k + 1, k)
