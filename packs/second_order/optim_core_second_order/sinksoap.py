"""SinkSOAP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from optim_core import decoupled, hyper, state
from optim_core.rules import Value, stacked
from optim_core_second_order.hidden_matrices import HiddenMatrices
from optim_core_second_order.matrices import frobenius
from optim_core_second_order.orthogonal import averaged
from optim_core_second_order.rotation import averaged as gram_averages
from optim_core_second_order.rotation import eigenvectors
from optim_core_second_order.shapes import Shape, matrix_view


def _sides(shape: Shape, group: Mapping[str, Any]) -> list[Shape] | None:
    del group
    return [(d, d) for d in matrix_view(shape)] if len(shape) > 1 else None


def _longer_side(shape: Shape, group: Mapping[str, Any]) -> Shape | None:
    if len(shape) < 2 or not group["normuon"] or len(set(matrix_view(shape))) == 1:
        return None
    return (max(matrix_view(shape)),)


class SinkSOAP(HiddenMatrices):
    """Momentum whose rows and columns are balanced in Shampoo's eigenbasis, in the place of a second moment.

    For hidden matrices (m x n); a weight of more dimensions counts as one, of dimension 0 by all others; AdamW gets
    everything else, as in :class:`Muon`::

        M = momentum M + (1 - momentum) g
        u = momentum M + (1 - momentum) g                      with nesterov; otherwise u = M
        GG_1 = gram_beta GG_1 + (1 - gram_beta) g g^T;   GG_2 likewise with g^T g;   Q_i their eigenvectors
        A = Q_1^T u Q_2;   B = A^2 + eps
        r = (1/m) / (B c + eps),  c = (1/n) / (B^T r + eps)    sinkhorn_steps times, starting with ones
        D = Q_1 (sqrt(r) A sqrt(c)) Q_2^T, of norm sqrt(min(m, n) max(1, m/n))
        p = p (1 - lr weight_decay) - lr D

    With ``normuon``, and unless m = n, D is divided by the root of an average of its squares, of each row if m > n and
    of each column otherwise, and keeps its norm. eps is absolute: gradients far below 1e-4 make B flat, and then
    nothing is balanced. Two sets of eigenvectors a step: cubic cost in both sides.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.eye(2))
        >>> optimizer = SinkSOAP([w], lr=0.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(5)]
        >>> losses[-1] < 0.5 * losses[0]
        True

    Source: the records of modded-nanogpt, track 3, SinkSOAP, https://github.com/KellerJordan/modded-nanogpt; no paper
    is known.
    """

    lr: float = hyper(0.02, "step size", ge=0, search=(1e-3, 1e-1))
    momentum: float = hyper(0.95, "decay of the average of g", ge=0, lt=1)
    gram_beta: float = hyper(0.95, "decay of the Gram matrices", ge=0, lt=1)
    beta2: float = hyper(0.95, "decay of the average square of rows or columns", ge=0, lt=1)
    sinkhorn_steps: int = hyper(10, "sweeps of balancing", ge=0)
    nesterov: bool = hyper(True, "look one gradient ahead")
    eps: float = hyper(1e-8, "added to B and to its sums; least norm", gt=0)
    normuon: bool = hyper(True, "even out rows or columns of oblong matrices")
    weight_decay: float = decoupled(0.0)

    momentum_buffer = state("average of g")
    GG = state("averages of g g^T and g^T g", shape=_sides)
    second_moment = state("average square of each row or column of D", shape=_longer_side)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value,
        GG: Value,
        second_moment: Value | None,
        *,
        lr: Value,
        momentum: Value,
        gram_beta: Value,
        beta2: Value,
        sinkhorn_steps: Value,
        nesterov: bool,
        eps: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        M, u = averaged(g, momentum_buffer, momentum, nesterov=nesterov)
        GG = gram_averages(GG, g, beta=gram_beta, max_precond_dim=2**62, as_matrix=True)
        D = _balanced(u, eigenvectors(GG), sweeps=sinkhorn_steps, eps=eps)
        if second_moment is not None:
            D, second_moment = _evened(D, second_moment, beta=beta2)
        return p - lr * D, M, GG, second_moment


@stacked("element")
def _balanced(u: Tensor, Q: list[Tensor], *, sweeps: int, eps: float) -> Tensor:
    """Rows and columns of u balanced in a basis, at the size of a step."""
    left, right = Q
    A = left.mT @ u.flatten(2) @ right
    m, n = A.shape[1:]
    B = A.square() + eps
    r, c = (A.new_ones(len(A), d, 1) for d in (m, n))
    for _ in range(int(sweeps)):
        r = (1 / m) / (B @ c + eps)
        c = (1 / n) / (B.mT @ r + eps)
    D = left @ (r.sqrt() * A * c.mT.sqrt()) @ right.mT
    size: float = (min(m, n) * max(1, m / n)) ** 0.5
    return (D * (size / frobenius(D).clamp(min=eps))).reshape(u.shape)


@stacked("element", "own")
def _evened(D: Tensor, V: Tensor, *, beta: float) -> tuple[Tensor, Tensor]:
    """D with rows or columns of one size on average, at the norm that it had."""
    X = D.flatten(2)
    axis = 2 if X.shape[1] > X.shape[2] else 1
    V = beta * V + (1 - beta) * X.square().mean(axis)
    evened = X / V.sqrt().clamp(min=1e-10).unsqueeze(axis)
    return (evened * (frobenius(X) / frobenius(evened).clamp(min=1e-30))).reshape(D.shape), V
