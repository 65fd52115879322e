"""MADGRAD."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, denominator, lerp, sqrt, square, where


class MADGRAD(RuleOptimizer):
    """Dual averaging: goes from the starting point x0 by the sum of all gradients, over a cube root of their squares.

    With l = lr + eps and a = l sqrt(t)::

        v = v + a g^2
        s = s + a g
        z = x0 - s / (cbrt(v) + eps)
        p = momentum p + (1 - momentum) z          (decoupled decay: then - l weight_decay times the p before)

    lr compares with neither SGD's nor Adam's: search it anew. As in the authors' code eps is added to lr as well, with
    eps = 0 an element without gradients stays at x0 (their momentum-free code makes it NaN), and with momentum = 0 x0
    is not kept but found back from p. There p must be changed by this optimizer alone. Decoupled decay leaves x0 alone,
    which then pulls back: use little or no decay. A parameter that joins late counts its own t (the authors' code
    counts for the model), and lr = 0 stands still (theirs goes on towards z).

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = MADGRAD([w], lr=0.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(20)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Defazio and Jelassi, Adaptivity without Compromise: A Momentumized, Adaptive, Dual Averaged Gradient Method
    for Stochastic Optimization, 2021, Algorithm 1, https://arxiv.org/abs/2101.11075.
    """

    lr: float = hyper(1e-2, "step size", ge=0, search=(1e-4, 1e-1))
    momentum: float = hyper(0.9, "weight of the old p in the new one", ge=0, lt=1)
    weight_decay: float = hyper(0.0, "L2, added to the gradient; or decoupled, times lr", ge=0)
    eps: float = hyper(1e-6, "added to the cube root and to lr", ge=0)
    decoupled_weight_decay: bool = hyper(False, "subtract lr*weight_decay*p instead of adding to g")

    grad_sum_sq = state("v, weighted sum of g squared")
    s = state("weighted sum of g")
    x0 = state("p at the start", start="p", when="momentum")

    sparse = True

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        grad_sum_sq: Value,
        s: Value,
        x0: Value,
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
            return p, grad_sum_sq, s, x0

        def way(v: Value, s: Value) -> Value:
            bare = v ** (1 / 3)
            root = denominator(bare + eps, bare=bare)
            return where(root > 0, s / root, 0.0)

        a = (lr + eps) * sqrt(step)
        if weight_decay and not decoupled_weight_decay:
            g = g + weight_decay * p
        start = x0 if momentum else p + way(grad_sum_sq, s)
        grad_sum_sq = grad_sum_sq + a * square(g)
        s = s + a * g
        new_p = lerp(start - way(grad_sum_sq, s), p, momentum)
        if weight_decay and decoupled_weight_decay:
            new_p = new_p - (lr + eps) * weight_decay * p
        return new_p, grad_sum_sq, s, x0
