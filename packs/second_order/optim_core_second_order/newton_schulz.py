"""Newton-Schulz iteration: the nearest orthogonal matrix, roughly."""

from __future__ import annotations

import torch
from torch import Tensor

#: Steps between two fresh Gram matrices: after more of them rounding in small singular values would have grown.
_RUN = 3

#: Bytes of X that are worked on at a time on a CPU, so that what comes between two products is found in its caches.
_CACHED = 1 << 21


def orthogonalised(X: Tensor, steps: int, coefficients: tuple[float, float, float]) -> Tensor:
    """Bring the singular values of a stack of matrices towards 1.

    Each step is, with A the Gram matrix of the shorter side::

        X = a X + b A X + c A^2 X           A = X X^T

    A step multiplies X by a polynomial P of A, and A becomes P A P. For oblong matrices a few steps are therefore
    taken on A alone, and X is multiplied once by what they come to: the same result, up to rounding.

    Args:
        X: of shape (B, rows, columns), each of Frobenius norm at most 1.
        steps: how many.
        coefficients: a, b, c.
    """
    if X.shape[1] > X.shape[2]:
        return orthogonalised(X.mT, steps, coefficients).mT
    few = max(2, _CACHED // (X.shape[1] * X.shape[2] * X.element_size())) if X.device.type == "cpu" else len(X)
    if few < len(X):
        return torch.cat([orthogonalised(part, steps, coefficients) for part in torch.split(X, few)])
    a, *bc = coefficients
    run = _RUN if X.shape[2] > 1.5 * X.shape[1] else 1
    for start in range(0, steps, run):
        A = torch.bmm(X, X.mT)  # matmul would copy a transposed stack of one
        P, scale = _polynomial(A, *bc), a  # in all: scale I + P; apart, so that the identity is not rounded
        B = P
        for _ in range(min(run, steps - start) - 1):
            A = torch.baddbmm(A, A, B, beta=a)
            A = torch.baddbmm(A, B, A, beta=a)
            B = _polynomial(A, *bc)
            P, scale = torch.baddbmm(P, B, P, beta=a).add_(B, alpha=scale), scale * a
        X = torch.baddbmm(X, P, X, beta=scale)
    return X


def _polynomial(A: Tensor, b: float, c: float) -> Tensor:
    """b A + c A^2."""
    return torch.baddbmm(A, A, A, beta=b, alpha=c)
