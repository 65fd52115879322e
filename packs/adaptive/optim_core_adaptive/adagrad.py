"""Adagrad."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, l2, state
from optim_core.rules import Value, gain, root, second_moment, square


class Adagrad(RuleOptimizer):
    """Divides each element's step by the root of the sum of all its squared gradients so far.

    ::

        s = s + g^2
        p = p - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)

    Nothing is forgotten, so steps only get shorter: good for rare features, whose elements keep long steps. With s
    starting at 0 every element's first step is lr, whatever the gradient; initial_accumulator_value=0.1 softens it.
    As in torch eps stands outside the root. TensorFlow and optax start at 0.1, and optax has eps inside.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = Adagrad([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.9]

    Source: Duchi, Hazan and Singer, Adaptive Subgradient Methods for Online Learning and Stochastic Optimization, 2011,
    Figure 1 with diagonal matrices, https://jmlr.org/papers/v12/duchi11a.html; lr_decay as in torch.optim.Adagrad.
    """

    lr: float = hyper(1e-2, "step size", ge=0, search=(1e-3, 1e-1))
    lr_decay: float = hyper(0.0, "lr falls as 1 / (1 + (t - 1) lr_decay)", ge=0)
    weight_decay: float = l2(0.0)
    initial_accumulator_value: float = hyper(0.0, "first value of the sum", ge=0)
    eps: float = hyper(1e-10, "added to the root", ge=0)

    sum = state("sum of g squared", start="initial_accumulator_value")

    sparse = True

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        sum: Value,  # noqa: A002 - torch's name
        *,
        lr: Value,
        lr_decay: Value,
        eps: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        s = sum + square(g)
        slower = 1 + (step - 1) * lr_decay
        return p - gain(lr / slower, 1 / slower) * g / root(second_moment(s), eps), s
