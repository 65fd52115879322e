"""FOCUS."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, lerp, sign


class FOCUS(RuleOptimizer):
    """Sign of the average gradient, and a pull towards the average of the weights: concentrated under noise.

    ::

        m = beta1 m + (1 - beta1) g
        a = beta2 a + (1 - beta2) p,   h = a / (1 - beta2^t)
        p = p - lr (sign(m) + gamma sign(p - h)) - lr weight_decay h

    with the p of before the step everywhere on the right. gamma is for noise: 0 is Signum. Weights decay along their
    average, and not on themselves. In the first step h is p, and nothing pulls (in floating point the authors' h is p
    up to rounding, and gives some elements a kick of gamma lr). sign(0) = 0. All elements move by lr (1 +- gamma) or so
    for ever, so let lr fall. pytorch-optimizer decays p before it takes the sign of p - h.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = FOCUS([w], lr=0.25, gamma=0.5)
        >>> for _ in range(2):
        ...     loss = optimizer.minimize(lambda: w.square().sum())
        >>> w.tolist()  # -lr, then -lr and a pull of gamma lr back
        [0.625, -1.625]

    Source: Liu, Liu and Gore, FOCUS: First Order Concentrated Updating Scheme, 2025, Algorithm 1,
    https://arxiv.org/abs/2501.12243.
    """

    lr: float = hyper(1e-2, "step size: what each element moves by", ge=0, search=(1e-5, 1e-2))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of m; of a", ge=0, lt=1)
    gamma: float = hyper(0.1, "weight of the pull, beside that of the gradient", ge=0)
    weight_decay: float = hyper(0.0, "decay along the average of the weights, times lr", ge=0)

    exp_avg = state("m, average of g")
    pbar = state("a, average of p, not corrected")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        pbar: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        gamma: Value,
        weight_decay: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        exp_avg, pbar = lerp(g, exp_avg, beta1), lerp(p, pbar, beta2)
        h = pbar / (1 - beta2**step)
        u = sign(exp_avg)
        if step > 1:
            u = u + gamma * sign(p - h)
        if weight_decay:
            u = u + weight_decay * h
        return p - lr * u, exp_avg, pbar
