"""MirrorMADGRAD."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, denominator, lerp, sqrt, square, where


class MirrorMADGRAD(RuleOptimizer):
    """MADGRAD in the form of mirror descent: steps are taken from where z is, not from where it started.

    With l = lr + eps, and z = p at the start::

        v = sqrt((t - 1) / t) v + g^2
        z = z - l cbrt(t) g / (cbrt(v) + eps)          decoupled decay: z (1 - l weight_decay) for z
        p = momentum p + (1 - momentum) z

    For large models, where MADGRAD's pull to the start is no use. The first step is lr cbrt(|g|) long: it depends on
    the scale of the loss. As in the authors' code eps is added to lr as well, and with eps = 0 an element without
    gradients stays. A parameter that joins late counts its own t (their code counts for the model), and lr = 0 stands
    still (theirs goes on towards z).

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = MirrorMADGRAD([w], lr=0.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(40)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Defazio and Jelassi, Adaptivity without Compromise: A Momentumized, Adaptive, Dual Averaged Gradient Method
    for Stochastic Optimization, 2021, https://arxiv.org/abs/2101.11075; this form is the authors' code's.
    """

    lr: float = hyper(1e-2, "step size", ge=0, search=(1e-4, 1e-1))
    momentum: float = hyper(0.9, "weight of the old p in the new one", ge=0, lt=1)
    weight_decay: float = hyper(0.0, "L2, added to the gradient; or decoupled, of z, times lr", ge=0)
    eps: float = hyper(0.0, "added to the cube root and to lr", ge=0)
    decoupled_weight_decay: bool = hyper(False, "shrink z by 1 - lr*weight_decay instead of adding to g")

    grad_sum_sq = state("v, weighted sum of g squared")
    z = state("where steps are taken", start="p")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        grad_sum_sq: Value,
        z: Value,
        *,
        lr: Value,
        momentum: Value,
        weight_decay: Value,
        eps: Value,
        decoupled_weight_decay: bool,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        if not lr:
            return p, grad_sum_sq, z
        if weight_decay and decoupled_weight_decay:
            z = z * (1 - (lr + eps) * weight_decay)
        elif weight_decay:
            g = g + weight_decay * p
        grad_sum_sq = sqrt((step - 1) / step) * grad_sum_sq + square(g)
        bare = grad_sum_sq ** (1 / 3)
        root = denominator(bare + eps, bare=bare)
        z = z - where(root > 0, (lr + eps) * step ** (1 / 3) * g / root, 0.0)
        return lerp(z, p, momentum), grad_sum_sq, z
