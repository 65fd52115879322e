"""Muon2."""

from __future__ import annotations

from optim_core import decoupled, hyper, state
from optim_core.rules import Value, lerp, root, square
from optim_core_second_order.coefficients import CONVERGENT, Coefficients
from optim_core_second_order.orthogonal import Orthogonal, Orthogonalised, adjustment, averaged, ns_triples


class Muon2(Orthogonalised):
    """Muon of momentum that has been divided by the root of Adam's second moment.

    For hidden matrices; the rest of a model goes to AdamW, as in :class:`~optim_core_second_order.Muon`::

        M = momentum M + (1 - momentum) g
        v = beta2 v + (1 - beta2) g^2
        u = momentum M + (1 - momentum) g              with nesterov; otherwise u = M
        p = p (1 - lr weight_decay) - lr r orthogonal(u / (sqrt(v) + eps))

    r is sqrt(max(1, rows/columns)). Twelve steps of (2, -1.5, 0.5) bring the singular values to 1.

    This is the code of the speed-run record named in the spec. A summary of the paper has eps inside of the root, no
    nesterov, and r without the bound by 1. With a small eps an element whose gradients are nothing but rounding gets
    a step of full size.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, -1.0], [2.0, 0.5]]))
        >>> optimizer = Muon2([w], lr=0.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(30)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Muon^2: Boosting Muon via Adaptive Second-Moment Preconditioning, 2026, https://arxiv.org/abs/2604.09967;
    the record named in the spec.
    """

    lr: float = hyper(0.02, "step size", ge=0, search=(1e-3, 1e-1))
    momentum: float = hyper(0.95, "decay of the average of g", ge=0, lt=1)
    beta2: float = hyper(0.95, "decay of the average of g^2", ge=0, lt=1)
    eps: float = hyper(1e-10, "added to the root", gt=0)
    weight_decay: float = decoupled(0.0)
    nesterov: bool = hyper(True, "look one gradient ahead")
    ns_steps: int = hyper(12, "steps of the iteration", ge=1)
    ns_coefficients: Coefficients = ns_triples(CONVERGENT)

    momentum_buffer = state("average of g")
    second_momentum_buffer = state("average of g squared")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value,
        second_momentum_buffer: Value,
        *,
        lr: Value,
        momentum: Value,
        beta2: Value,
        eps: Value,
        nesterov: bool,
        orthogonal: Orthogonal,
    ) -> tuple[Value, ...]:
        """The update above."""
        M, u = averaged(g, momentum_buffer, momentum, nesterov=nesterov)
        v = lerp(square(g), second_momentum_buffer, beta2)
        X = orthogonal(u / root(v, eps))
        return p - lr * (adjustment(p, "original") * X), M, v
