"""AdaMuon."""

from __future__ import annotations

from typing import ClassVar

from optim_core import decoupled, hyper, state
from optim_core.rules import Value, lerp, norm, root, sign, size, sqrt, square
from optim_core_second_order.orthogonal import Orthogonal, Orthogonalised, averaged


class AdaMuon(Orthogonalised):
    """Muon of the signs of momentum, with Adam's root under every element and AdamW's size of steps.

    For hidden matrices; the rest of a model goes to AdamW, as in :class:`~optim_core_second_order.Muon`, with the same
    lr unless ``adam_lr`` says otherwise::

        M = momentum M + (1 - momentum) g
        u = momentum M + (1 - momentum) g              with nesterov; otherwise u = M
        X = orthogonal(sign(u))                        Muon's Newton-Schulz iteration
        v = momentum v + (1 - momentum) X^2
        Y = X / (sqrt(v) + eps)
        p = p (1 - lr weight_decay) - lr 0.2 sqrt(rows columns) Y / (||Y|| + eps)

    The root mean square of a step is 0.2 lr, as AdamW's usually is: lr and weight_decay are AdamW's, not Muon's.

    This is the authors' code for GPT-2, and the later paper. Its first version, and pytorch-optimizer, make the
    momentum itself orthogonal instead of its signs, which jump where an element of u changes its sign.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, -1.0], [2.0, 0.5]]))
        >>> optimizer = AdaMuon([w], lr=0.5)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(30)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Si et al., AdaMuon: Adaptive Muon Optimizer, 2025, https://arxiv.org/abs/2507.11005; the code named in the
    spec, from a description of it.
    """

    lr: float = hyper(0.02, "step size", ge=0, search=(1e-3, 1e-1))
    momentum: float = hyper(0.95, "decay of the averages of g and X^2", ge=0, lt=1)
    weight_decay: float = decoupled(0.01)
    nesterov: bool = hyper(True, "look one gradient ahead")
    eps: float = hyper(1e-8, "added to the root and to the norm of Y", gt=0)

    momentum_buffer = state("average of g")
    v_buffer = state("average of X squared")

    adam_share: ClassVar = 1.0

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value,
        v_buffer: Value,
        *,
        lr: Value,
        momentum: Value,
        nesterov: bool,
        eps: Value,
        orthogonal: Orthogonal,
    ) -> tuple[Value, ...]:
        """The update above."""
        M, u = averaged(g, momentum_buffer, momentum, nesterov=nesterov)
        X = orthogonal(sign(u))
        v = lerp(square(X), v_buffer, momentum)
        Y = X / root(v, eps)
        return p - lr * 0.2 * sqrt(size(p)) / (norm(Y) + eps) * Y, M, v
