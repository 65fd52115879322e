"""NorMuon."""

from __future__ import annotations

from optim_core import decoupled, hyper, state
from optim_core.rules import Value, lerp, mean, norm, sqrt, square
from optim_core_second_order.orthogonal import Orthogonal, Orthogonalised, adjustment, averaged


class NorMuon(Orthogonalised):
    """Muon whose steps have rows of equal length on average: every output unit learns at one rate.

    For hidden matrices; the rest of a model goes to AdamW, as in :class:`~optim_core_second_order.Muon`, which says
    what goes there, and what lr it has::

        M = momentum M + (1 - momentum) g
        u = momentum M + (1 - momentum) g              with nesterov; otherwise u = M
        X = orthogonal(u)                              Muon's Newton-Schulz iteration
        V = beta2 V + (1 - beta2) mean(X^2)            one number for each row
        Y = X / (sqrt(V) + 1e-10)
        p = p (1 - lr weight_decay) - lr r Y ||X|| / (||Y|| + 1e-10)

    r is sqrt(max(1, rows/columns)). V needs no bias correction: what all rows have in common goes with the norm.

    Rows of a convolution are its output channels. The authors' code takes means and r over single kernels there, and
    a missing gradient for zero. pytorch-optimizer has a mode ``update_scale`` that rescales to an RMS of 0.2 in the
    place of ||X||.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, -1.0], [2.0, 0.5]]))
        >>> optimizer = NorMuon([w], lr=0.05)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(30)]
        >>> losses[-1] < losses[0]
        True

    Source: Li et al., NorMuon: Making Muon more efficient and scalable, 2025, Algorithm 1,
    https://arxiv.org/abs/2510.05491.
    """

    lr: float = hyper(0.02, "step size", ge=0, search=(1e-3, 1e-1))
    momentum: float = hyper(0.95, "decay of the average of g", ge=0, lt=1)
    beta2: float = hyper(0.95, "decay of the mean square of rows", ge=0, lt=1)
    weight_decay: float = decoupled(0.0)
    nesterov: bool = hyper(True, "look one gradient ahead")

    momentum_buffer = state("average of g")
    second_momentum_buffer = state("average of the mean square of rows of X", level="row")

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
        nesterov: bool,
        orthogonal: Orthogonal,
    ) -> tuple[Value, ...]:
        """The update above."""
        M, u = averaged(g, momentum_buffer, momentum, nesterov=nesterov)
        X = orthogonal(u)
        V = lerp(mean(square(X), over="row"), second_momentum_buffer, beta2)
        Y = X / (sqrt(V) + 1e-10)
        Y = Y * (norm(X) / (norm(Y) + 1e-10))
        return p - lr * (adjustment(p, "original") * Y), M, V
