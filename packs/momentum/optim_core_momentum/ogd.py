"""Optimistic gradient descent."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, gain


class OptimisticGD(RuleOptimizer):
    """Gradient descent that expects the gradient to go on changing as it has: for games, where descent goes in circles.

    With h the gradient of the step before, and g itself in the first step::

        p = p - lr (alpha g + beta (g - h))

    alpha = beta = 1 is p - 2 lr g + lr h. Each player minimises a loss of its own, or one of them has maximize=True. lr
    multiplies both gradients, the present one's. On mini-batches g - h is mostly noise, doubled.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = OptimisticGD([w], lr=0.25).minimize(lambda: w.square().sum())
        >>> w.tolist()
        [0.5, -1.0]

    Source: Mokhtari, Ozdaglar and Pattathil, A Unified Analysis of Extra-gradient and Optimistic Gradient Methods for
    Saddle Point Problems: Proximal Point Approach, 2019, equation 8, https://arxiv.org/abs/1901.08511; first step as in
    optax.
    """

    lr: float = hyper(1e-2, "step size", ge=0, search=(1e-3, 1.0))
    alpha: float = hyper(1.0, "weight of the gradient", ge=0)
    beta: float = hyper(1.0, "weight of its change", ge=0)

    prev_grad = state("g of the step before")

    @staticmethod
    def rule(
        p: Value, g: Value, prev_grad: Value, *, lr: Value, alpha: Value, beta: Value, first: Value
    ) -> tuple[Value, ...]:
        """The update above."""
        u = alpha * g
        if not first:
            u = u + beta * (g - prev_grad)
        return p - lr * gain(u, alpha), g
