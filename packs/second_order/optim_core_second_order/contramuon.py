"""Contra-Muon."""

from __future__ import annotations

import torch
from torch import Tensor

from optim_core import decoupled, hyper, state
from optim_core.rules import Value, stacked
from optim_core_second_order.coefficients import CONVERGENT, Coefficients
from optim_core_second_order.contrast import even, floored, frobenius, sized, slices_of
from optim_core_second_order.orthogonal import Orthogonal, Orthogonalised, averaged, ns_triples


class ContraMuon(Orthogonalised):
    """Muon less a part of the momentum itself: directions that dominate get less than the others.

    For hidden matrices; the rest of a model goes to AdamW, as in :class:`~optim_core_second_order.Muon`::

        M = momentum M + (1 - momentum) g
        u = momentum M + (1 - momentum) g              with nesterov; otherwise u = M
        P = orthogonal(u)                              Newton-Schulz, 12 steps to singular values of 1
        C = P - contra/2 u / s                         s: u's spectral norm, by five steps of power iteration
        C = r C ||P|| / ||C||
        V = beta2 V + (1 - beta2) mean(C^2)            for each row; for each column of a wide matrix
        C = C / sqrt(V), and the norm of before
        C = C max(1, uw_floor ||p|| / ||C||)           no step is shorter than that share of p
        p = p - lr C

    r is sqrt(max(1, rows/columns)). s comes out too small where five steps do not suffice, and depends on their start,
    the vector of ones. ``contra=0`` and ``uw_floor=0`` are Muon with the even rows of :class:`NorMuon`.

    Weight decay is ours: the record named in the spec has none, its step being bounded from below instead. It also
    modifies p.grad. Later records take other norms and let ``contra`` go to 0: :class:`SoftMuon`.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, -1.0], [2.0, 0.5]]))
        >>> optimizer = ContraMuon([w], lr=0.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(30)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Contra-Muon and Soft-Muon, 2026, https://nilin.github.io/contra-muon-and-soft-muon/; the record named in
    the spec.
    """

    lr: float = hyper(0.0375, "step size", ge=0, search=(1e-3, 1e-1))
    momentum: float = hyper(0.95, "decay of the average of g", ge=0, lt=1)
    contra: float = hyper(0.4, "twice the part of the momentum that is taken away", ge=0)
    beta2: float = hyper(0.95, "decay of the mean squares", ge=0, lt=1)
    uw_floor: float = hyper(0.35, "least norm of a step, as a share of that of p", ge=0)
    weight_decay: float = decoupled(0.0)
    nesterov: bool = hyper(True, "look one gradient ahead")
    ns_steps: int = hyper(12, "steps of the iteration", ge=1)
    ns_coefficients: Coefficients = ns_triples(CONVERGENT)

    momentum_buffer = state("average of g")
    second_moment = state("averages of mean squares", shape=slices_of)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value,
        second_moment: Value,
        *,
        lr: Value,
        momentum: Value,
        contra: Value,
        beta2: Value,
        uw_floor: Value,
        nesterov: bool,
        orthogonal: Orthogonal,
    ) -> tuple[Value, ...]:
        """The update above."""
        M, u = averaged(g, momentum_buffer, momentum, nesterov=nesterov)
        C, V = _contrasted(orthogonal(u), u, p, second_moment, contra=contra, beta2=beta2, floor=uw_floor)
        return p - lr * C, M, V


@stacked("element", "own")
def _contrasted(
    P: Tensor, u: Tensor, p: Tensor, V: Tensor, *, contra: float, beta2: float, floor: float
) -> tuple[Tensor, Tensor]:
    """C and V."""
    shape, u = u.shape, u.flatten(2)
    P = P.flatten(2).to(u.dtype)
    C = sized(P - contra / 2 * u / _spectral_norm(u), frobenius(P), frobenius)
    C, V = even(C, V, beta2, frobenius)
    return floored(C, p.flatten(2), floor).reshape(shape), V


def _spectral_norm(u: Tensor) -> Tensor:
    """The largest singular values, roughly and from below; (B, 1, 1)."""
    v = torch.full_like(u[:, :1], u.shape[2] ** -0.5).mT
    for _ in range(5):
        w = u @ v
        w = w / frobenius(w).clamp(min=1e-10)
        v = u.mT @ w
        v = v / frobenius(v).clamp(min=1e-10)
    return frobenius(u @ v).clamp(min=1e-10)
