"""DAdaptLion."""

from __future__ import annotations

from optim_core import hyper, state
from optim_core.rules import Value, dot, lerp, maximum, sign, sqrt, total, where
from optim_core_adaptive.dadaptation import OneStepSize, check_one_lr


class DAdaptLion(OneStepSize):
    """Lion that finds its own step size: d, a lower bound of the distance from the starting point to a solution.

    d belongs to the model as a whole; < , > and | | are sums over all parameters; b = sqrt(beta2); a = d lr::

        u = sign(beta1 m + (1 - beta1) g)
        p = p (1 - a weight_decay) - a u
        m = beta2 m + (1 - beta2) a g
        N = b N + (1 - b) a <u, s>                     s of the step before
        s = b s + (1 - b) a u
        d = max(d, N / ((1 - b) |s|))                  used from the next step on

    Leave lr at 1. Highly experimental, the authors say. It is slow to start (d0 may well be larger) and ends with steps
    that are too long for a constant lr: on a small classification of digits it ends between 83 and 92 % at its best lr,
    about 0.5, where DAdaptAdam ends at 98 %. m holds gradients times a, but u mixes it with the bare g: as long as d is
    small u is the sign of g, and the momentum has no say.
    Groups with lr = 0 stand still and count for nothing (in the authors' code they move).

    Raises:
        InvalidOption: at construction, and in a step, if two groups have different lr and neither is 0.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = DAdaptLion([w], d0=1e-2)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(41)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Defazio and Mishchenko, Learning-Rate-Free Learning by D-Adaptation, 2023,
    https://arxiv.org/abs/2301.07733; Lion as in the authors' package, version 3.2.
    """

    lr: float = hyper(1.0, "factor on the step size found; one value for all groups, or 0", ge=0, search=(0.1, 1.0))
    betas: tuple[float, float] = hyper((0.9, 0.99), "mix for the step, decay of the average", ge=0, lt=1, common=True)
    weight_decay: float = hyper(0.0, "decoupled decay, times the step size found", ge=0)
    d0: float = hyper(1e-6, "first d", gt=0, common=True)

    exp_avg = state("average of d*lr*g")
    s = state("average of d*lr*u")
    d = state("distance", level="whole", start="d0")
    numerator_weighted = state("N", level="whole")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        s: Value,
        d: Value,
        numerator_weighted: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        weight_decay: Value,
        layer_scale: Value,
        largest_lr: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        check_one_lr("DAdaptLion", lr, largest_lr)
        beta1, beta2 = betas
        b = sqrt(beta2)
        a = d * lr
        u = sign(lerp(g, exp_avg, beta1))
        numerator = lerp(total(a * dot(u, s)), numerator_weighted, b)
        if lr:
            p = p * (1 - a * weight_decay) - a * layer_scale * u
            exp_avg = lerp(a * g, exp_avg, beta2)
            s = b * s + (1 - b) * a * u
        s_norm = total(abs(s) if lr else 0 * s)
        counts = s_norm > 0
        new_d = where(counts, maximum(d, numerator / ((1 - b) * s_norm)), d)
        return p, exp_avg, s, new_d, where(counts, numerator, numerator_weighted)
