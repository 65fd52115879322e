"""AEGD."""

from __future__ import annotations

from optim_core import hyper, state
from optim_core.optimizers import LossValue
from optim_core.rules import Value, maximum, sqrt, square


class AEGD(LossValue):
    """Gradient descent on the root of the loss, with an energy for each element that only falls: stable for any lr.

    With f the loss, and r = sqrt(f + c) in an element's first step::

        v = g / (2 sqrt(f + c)) + weight_decay p
        r = r / (1 + 2 lr v^2)
        p = p - 2 lr r v

    c has to be such that f + c stays positive; where it is below eps, eps stands in its place. The energy r is spent,
    not given back: where lr is too large, steps come to an end early. L2 is added to v, as in the authors' code, not to
    g; ``decoupled_weight_decay`` is their AEGDW, which shrinks p by 1 - lr weight_decay before the step instead. With
    lr = 0 nothing moves.

    f is a part of the step: ``minimize(closure)`` and ``step(closure)`` know it, ``step()`` alone cannot be taken; see
    :class:`~optim_core.optimizers.LossValue`.

    Raises:
        LossMissing: in a step without the loss, before anything is changed.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -1.0]))
        >>> loss = AEGD([w], lr=0.5, c=2.0).minimize(lambda: w.square().sum())  # v = 1/2, r = 2 / (1 + 1/4)
        >>> [round(x, 3) for x in w.tolist()]
        [0.2, -0.2]

    Source: Liu and Tian, AEGD: Adaptive Gradient Descent with Energy, 2020, Algorithm 1,
    https://arxiv.org/abs/2010.05109; weight decay as in the authors' code.
    """

    lr: float = hyper(0.1, "step size", ge=0, search=(1e-2, 1.0))
    c: float = hyper(1.0, "added to the loss, so that it is positive", ge=0, common=True)
    weight_decay: float = hyper(0.0, "decay, added to v; or decoupled", ge=0)
    decoupled_weight_decay: bool = hyper(False, "shrink p by 1 - lr*weight_decay instead")
    eps: float = hyper(1e-8, "least value of f + c", gt=0, common=True)

    r = state("energy of each element")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        r: Value,
        loss: Value,
        *,
        lr: Value,
        c: Value,
        weight_decay: Value,
        decoupled_weight_decay: bool,
        eps: Value,
        first: Value,
        maximize: bool,
    ) -> tuple[Value, ...]:
        """The update above."""
        root = sqrt(maximum((-loss if maximize else loss) + c, eps))
        v = g / (2 * root)
        if weight_decay and decoupled_weight_decay:
            p = p * (1 - lr * weight_decay)
        elif weight_decay:
            v = v + weight_decay * p
        r = (root if first else r) / (1 + 2 * lr * square(v))
        return p - 2 * lr * r * v, r, loss
