"""Prodigy."""

from __future__ import annotations

import math

from optim_core import hyper, state
from optim_core.rules import Value, denominator, dot, lerp, maximum, minimum, sample, sqrt, square, total, where
from optim_core_adaptive.dadaptation import OneStepSize, check_one_lr


class Prodigy(OneStepSize):
    """Adam that finds its own step size: d, the distance from the starting point p0 to a solution, as it seems so far.

    d belongs to the model as a whole; < , > and | | are sums over all parameters; a = d lr (with use_bias_correction
    times sqrt(1 - beta2^k) / (1 - beta1^k)); e = a, with safeguard_warmup e = d; beta3 = sqrt(beta2) unless given::

        N = beta3 N + (d/d0) a <g, p0 - p>              s = beta3 s + (d/d0) e g
        m = beta1 m + (1 - beta1) d g                   v = beta2 v + (1 - beta2) d^2 g^2
        D = d_coef N / |s|
        d' = min(largest D so far, growth_rate d)       while d is still d0, it jumps to D
        p = p (1 - a weight_decay) - a m / (sqrt(v) + d' eps)

    Leave lr at 1 and schedule it if you like; tune d_coef. Groups with lr = 0 stand still and count for nothing. A
    step in which no gradient counts (lr = 0 everywhere, or all zero) changes neither d nor p. With slice_p = n only
    every n-th element counts for N and s.

    Raises:
        InvalidOption: at construction, and in a step, if two groups have different lr and neither is 0.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = Prodigy([w], d0=1e-2)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(50)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Mishchenko and Defazio, Prodigy: An Expeditiously Adaptive Parameter-Free Learner, 2023, Algorithm 4,
    https://arxiv.org/abs/2306.06101; d0 as the scale of N and s, and growth_rate, as in the authors' code.
    """

    lr: float = hyper(1.0, "factor on the step size found; one value for all groups, or 0", ge=0, search=(0.1, 10.0))
    betas: tuple[float, float] = hyper(
        (0.9, 0.999), "decay of the averages of g and its square", ge=0, lt=1, common=True
    )
    beta3: float | None = hyper(None, "decay of the sums behind d, None for sqrt(beta2)", ge=0, lt=1, common=True)
    eps: float = hyper(1e-8, "added to the root, times d", ge=0)
    weight_decay: float = hyper(0.0, "decoupled decay, times the step size found; or L2", ge=0)
    decoupled_weight_decay: bool = hyper(True, "False: add weight_decay*p to g")
    use_bias_correction: bool = hyper(False, "Adam's bias correction, on the step size", common=True)
    safeguard_warmup: bool = hyper(False, "leave lr out of the weights in s", common=True)
    d0: float = hyper(1e-6, "first d", gt=0, common=True)
    d_coef: float = hyper(1.0, "factor on the distance; the one to tune", gt=0, common=True)
    growth_rate: float = hyper(math.inf, "largest growth of d in one step", ge=1, common=True)
    slice_p: int = hyper(1, "only each n-th element counts for d", ge=1)

    exp_avg = state("average of d*g", when=lambda group: group["betas"][0] > 0)
    exp_avg_sq = state("average of (d*g)^2")
    s = state("decayed sum of g", every="slice_p")
    p0 = state("p at the start", start="p", every="slice_p")
    d = state("distance", level="whole", start="d0")
    d_max = state("largest distance so far", level="whole", start="d0")
    d_numerator = state("decayed sum of <g, p0 - p>", level="whole")
    k = state("number of steps that counted", level="whole")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        s: Value,
        p0: Value,
        d: Value,
        d_max: Value,
        d_numerator: Value,
        k: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        beta3: Value | None,
        eps: Value,
        weight_decay: Value,
        decoupled_weight_decay: bool,
        use_bias_correction: bool,
        safeguard_warmup: bool,
        d0: Value,
        d_coef: Value,
        growth_rate: Value,
        slice_p: Value,
        layer_scale: Value,
        largest_lr: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        check_one_lr("Prodigy", lr, largest_lr)
        beta1, beta2 = betas
        beta3 = sqrt(beta2) if beta3 is None else beta3
        if weight_decay and not decoupled_weight_decay:
            g = g + weight_decay * p
        a = d * lr
        if use_bias_correction:
            a = a * sqrt(1 - beta2 ** (k + 1)) / (1 - beta1 ** (k + 1))
        if lr:
            s = beta3 * s + d / d0 * (d if safeguard_warmup else a) * sample(g, slice_p)
            exp_avg = lerp(d * g, exp_avg, beta1) if beta1 else exp_avg
            exp_avg_sq = lerp(square(d * g), exp_avg_sq, beta2)
        s_norm = total(layer_scale * abs(s) if lr else 0 * s)
        numerator = beta3 * d_numerator + total(d / d0 * a * dot(sample(g, slice_p), p0 - sample(p, slice_p)))
        distance = d_coef * numerator / s_norm
        farthest = maximum(d_max, distance)
        counts = s_norm > 0
        new_d = minimum(farthest, where(d == d0, maximum(d, distance), d) * growth_rate)
        new_d = where(counts, new_d, d)
        a = where(counts, a, 0.0)
        if weight_decay and decoupled_weight_decay:
            p = p * (1 - a * weight_decay)
        root = sqrt(exp_avg_sq)
        root = denominator(root + new_d * eps, bare=root / new_d, scale=new_d)
        p = p - a * layer_scale * (exp_avg if beta1 else new_d * g) / root
        k = where(counts, k + 1, k)
        d_numerator = where(counts, numerator, d_numerator)
        return p, exp_avg, exp_avg_sq, s, p0, new_d, where(counts, farthest, d_max), d_numerator, k
