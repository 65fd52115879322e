"""SWATS."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, l2, state
from optim_core.rules import Value, dot, lerp, root, sqrt, square, total, where


class SWATS(RuleOptimizer):
    """Adam that switches to SGD with momentum once the SGD step size that would do what Adam does has settled.

    In the Adam phase, < , > being sums over all parameters::

        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2
        d = -lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps)
        p = p + d
        gamma = -<d, d> / <d, g>                            the step size of the SGD step whose part along d is d
        l = beta2 l + (1 - beta2) gamma;   L = l / (1 - beta2^t)
        if t > 1, L > 0 and |L - gamma| < switch_tol:       switch, with this L and m = 0

    and from the next step on::

        m = beta1 m + g
        p = p - (1 - beta1) L m

    Schedules go on acting: L is multiplied by lr over the lr at the switch. Groups share l and the switch, and keep the
    ratio of their lr. switch_tol is eps unless given, as in the paper, which has one number for both. With it the
    switch may never come; 1e-5 and more are in use. That L must be positive is not in the paper: a negative one would
    ascend. Ports compare tensor by tensor and switch in the middle of a step; one of them loses its momentum.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = SWATS([w], lr=0.1, switch_tol=0.02)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(60)]
        >>> losses[-1] < 0.1 * losses[0], float(optimizer.whole["sgd_lr"]) > 0
        (True, True)

    Source: Keskar and Socher, Improving Generalization Performance by Switching from Adam to SGD, 2017, Algorithm 1,
    https://arxiv.org/abs/1712.07628; no authors' code is known.
    """

    lr: float = hyper(1e-3, "step size of Adam; that of SGD is found", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper(
        (0.9, 0.999), "decay of the averages of g and of its square", ge=0, lt=1, common=True
    )
    eps: float = hyper(1e-9, "added to the uncorrected root", ge=0, common=True)
    weight_decay: float = l2(0.0)
    switch_tol: float | None = hyper(None, "how near L must be to gamma; None for eps", ge=0, common=True)

    exp_avg = state("average of g; after the switch, its decayed sum")
    exp_avg_sq = state("average of g squared")
    exp_avg_lr = state("l, average of gamma", level="whole")
    sgd_lr = state("L, 0 before the switch", level="whole")
    lr_at_switch = state("the largest lr at the switch", level="whole")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        exp_avg_lr: Value,
        sgd_lr: Value,
        lr_at_switch: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        switch_tol: Value | None,
        step: Value,
        whole_step: Value,
        largest_lr: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        tolerance = eps if switch_tol is None else switch_tol
        switched = sgd_lr > 0
        average = lerp(g, exp_avg, beta1)
        exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
        c2 = 1 - beta2**step
        d = -lr * sqrt(c2) / (1 - beta1**step) * average / root(exp_avg_sq, eps, c2, outside=True)
        ratio = lr / largest_lr if largest_lr else largest_lr
        product = total(ratio * dot(d, g))
        gamma = -total(dot(d, d)) / product
        known = ~switched & (product != 0)
        exp_avg_lr = where(known, lerp(gamma, exp_avg_lr, beta2), exp_avg_lr)
        L = exp_avg_lr / (1 - beta2**whole_step)
        switches = known & (L > 0) & (abs(L - gamma) < tolerance) & (whole_step > 1)

        momentum = beta1 * exp_avg + g
        p = p + where(switched, -(1 - beta1) * sgd_lr * lr / lr_at_switch * momentum, d)
        exp_avg = where(switched, momentum, where(switches, 0.0, average))
        sgd_lr = where(switches, L, sgd_lr)
        return p, exp_avg, exp_avg_sq, exp_avg_lr, sgd_lr, where(switches, largest_lr, lr_at_switch)
