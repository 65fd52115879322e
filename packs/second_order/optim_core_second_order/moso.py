"""MOSO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from optim_core import decoupled, hyper, state
from optim_core.rules import Value, lerp, mean, minimum, sqrt, square, stacked
from optim_core_second_order.hidden_matrices import HiddenMatrices
from optim_core_second_order.roots import eigh
from optim_core_second_order.shapes import Shape, matrix_view


def _square(shape: Shape, group: Mapping[str, Any]) -> list[Shape]:
    del group
    return [(min(matrix_view(shape)),) * 2]


class MOSO(HiddenMatrices):
    """Momentum divided by its root mean square in the basis of its own covariance, on the shorter side only.

    For hidden matrices, which a weight of more dimensions is, too, of dimension 0 by all others; AdamW has the rest, as
    for :class:`~optim_core_second_order.muon.Muon`. For a matrix that is not tall (a tall one is taken for its
    transpose), t counting from 1::

        M = momentum M + (1 - momentum) g
        C = C + (1 - b) / (1 - b^t) (M M^T - C)               b is shampoo_beta
        Q = QR(C Q)                                           the eigenvectors of C for t = 1
        v = beta2 v + (1 - beta2) (Q^T M)^2
        U = Q (Q^T M / (sqrt(v) + eps))
        U = U min(1, max_update_rms / RMS(U))                 with max_update_rms
        p = p (1 - lr weight_decay) - lr U

    Columns of Q are kept in the order of the diagonal of Q^T C Q; v stays where it is. v is not corrected, so the first
    steps are large, 1 / sqrt(1 - beta2) in the basis: keep lr small, or set ``max_update_rms``.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.diag(torch.tensor([3.0, 1.0])))
        >>> optimizer = MOSO([w], lr=0.1, weight_decay=0.0, max_update_rms=1.0)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(40)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: no publication; the code named in the spec (its pull request 222).
    """

    lr: float = hyper(3e-4, "step size", ge=0, search=(1e-4, 1e-1))
    momentum: float = hyper(0.95, "decay of the average of g", ge=0, lt=1)
    beta2: float = hyper(0.95, "decay of v", ge=0, lt=1)
    shampoo_beta: float = hyper(0.95, "decay of C, corrected", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root", ge=0)
    weight_decay: float = decoupled(0.01)
    max_update_rms: float = hyper(0.0, "largest root mean square of a step before lr; 0 for any", ge=0)

    momentum_buffer = state("average of g")
    rotated_sq = state("v")
    GG = state("C", shape=_square)
    Q = state("Q", shape=_square)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value,
        rotated_sq: Value,
        GG: Value,
        Q: Value,
        *,
        lr: Value,
        momentum: Value,
        beta2: Value,
        shampoo_beta: Value,
        eps: Value,
        max_update_rms: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        M = lerp(g, momentum_buffer, momentum)
        C = _averaged(GG, M, share=(1 - shampoo_beta) / (1 - shampoo_beta**step))
        Q = _eigenvectors(C) if step == 1 else _renewed(C, Q)
        Y = _turned(M, Q)
        v = lerp(square(Y), rotated_sq, beta2)
        U = _turned(Y / (sqrt(v) + eps), Q, back=True)
        if max_update_rms > 0:
            U = U * minimum(1, max_update_rms / (sqrt(mean(square(U))) + 1e-7))
        return p - lr * U, M, v, C, Q


@stacked("own")
def _averaged(GG: list[Tensor], M: Tensor, *, share: float) -> list[Tensor]:
    """C with M M^T, in float64: the directions that M hardly has are as much to the step as the others."""
    C, X = GG[0].double(), _wide(M).double()
    return [torch.baddbmm(C, X, X.mT, beta=1 - share, alpha=share).to(M.dtype)]


@stacked("own")
def _eigenvectors(GG: list[Tensor]) -> list[Tensor]:
    """Those of the largest eigenvalues first."""
    return [eigh(C.double())[1].flip(2).to(C.dtype) for C in GG]


@stacked("own")
def _renewed(GG: list[Tensor], Q: list[Tensor]) -> list[Tensor]:
    """The basis to come: a step of the QR algorithm."""
    (C,), (B,) = ([x.double() for x in matrices] for matrices in (GG, Q))
    B = torch.linalg.qr(C @ B).Q
    order = (B * (C @ B)).sum(1).argsort(dim=1, descending=True)
    return [B.gather(2, order.unsqueeze(1).expand_as(B)).to(Q[0].dtype)]


@stacked("element")
def _turned(M: Tensor, Q: list[Tensor], *, back: bool = False) -> Tensor:
    """Q^T M, or Q M."""
    (B,), X = Q, _wide(M)
    X = torch.bmm(B if back else B.mT, X)
    return (X.mT if _is_tall(M) else X).reshape(M.shape)


def _is_tall(M: Tensor) -> bool:
    rows, columns = matrix_view(tuple(M.shape[1:]))
    return rows > columns


def _wide(M: Tensor) -> Tensor:
    """Matrices that are not tall."""
    X = M.flatten(2)
    return X.mT if _is_tall(M) else X
