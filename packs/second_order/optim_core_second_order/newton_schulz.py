"""Newton-Schulz iteration: the nearest orthogonal matrix, roughly."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

#: a, b and c of a step.
Triple = tuple[float, float, float]

#: Steps between two fresh Gram matrices: after more of them rounding in small singular values would have grown.
_RUN = 3

#: Most by which the eigenvalues of a Gram matrix, and the rounding in the small ones, may grow between two fresh ones.
_GROWTH = 150.0

#: Most by which steps between two fresh Gram matrices may magnify the rounding of half precision in large eigenvalues:
#: measured on matrices of almost one singular value, where twice as much lets them run away.
_MAGNIFIED = 250.0

#: Bytes of X that are worked on at a time on a CPU, so that what comes between two products is found in its caches.
_CACHED = 1 << 21


def orthogonalised(X: Tensor, triples: Sequence[Triple], restarts: Sequence[int] | None = None) -> Tensor:
    """Bring the singular values of a stack of matrices towards 1.

    Each step is, with A the Gram matrix of the shorter side::

        X = a X + b A X + c A^2 X           A = X X^T

    A step multiplies X by a polynomial P of A, and A becomes P A P. For oblong matrices a few steps are therefore
    taken on A alone, and X is multiplied once by what they come to: the same result, up to rounding.

    Args:
        X: of shape (B, rows, columns), each of Frobenius norm at most 1.
        triples: a, b and c of each step.
        restarts: the steps, counted from 0, before which the Gram matrix of an oblong X is formed anew; None to choose.
    """
    if X.shape[1] > X.shape[2]:
        return orthogonalised(X.mT, triples, restarts).mT
    few = max(2, _CACHED // (X.shape[1] * X.shape[2] * X.element_size())) if X.device.type == "cpu" else len(X)
    if few < len(X):
        return torch.cat([orthogonalised(part, triples, restarts) for part in torch.split(X, few)])
    for start, end in _runs(triples, X.shape[1:], restarts, half=X.element_size() == 2):
        A = torch.bmm(X, X.mT)  # matmul would copy a transposed stack of one
        a, b, c = triples[start]
        P, scale = _polynomial(A, b, c), a  # in all: scale I + P; apart, so that the identity is not rounded
        B = P
        for after in triples[start + 1 : end]:
            A = torch.baddbmm(A, A, B, beta=a)
            A = torch.baddbmm(A, B, A, beta=a)
            a, b, c = after
            B = _polynomial(A, b, c)
            P, scale = torch.baddbmm(P, B, P, beta=a).add_(B, alpha=scale), scale * a
        X = torch.baddbmm(X, P, X, beta=scale)
    return X


def _polynomial(A: Tensor, b: float, c: float) -> Tensor:
    """b A + c A^2."""
    return torch.baddbmm(A, A, A, beta=b, alpha=c) if c else b * A


def _runs(
    triples: Sequence[Triple], sides: Sequence[int], restarts: Sequence[int] | None, *, half: bool
) -> Iterator[tuple[int, int]]:
    """The first step and the end of each run of steps on one Gram matrix."""
    if restarts is None:
        oblong, most = sides[1] > 1.5 * sides[0], _MAGNIFIED if half else math.inf
        starts = list(_starts(triples, most)) if oblong else range(len(triples))
    else:
        inner = sorted({at for at in restarts if 0 < at < len(triples)})
        starts = [0, *inner] if sides[1] > sides[0] else range(len(triples))
    return pairwise([*starts, len(triples)])


def _starts(triples: Sequence[Triple], most: float) -> Iterator[int]:
    # torch.compile may have symbols for the coefficients, and would keep each comparison below as a formula to be
    # solved. A key of a dictionary has to be a constant: one guard, on its value.
    {x: None for triple in triples for x in triple}
    grown, taken, magnified, x = _GROWTH, _RUN, 1.0, 1.0
    for at, (a, b, c) in enumerate(triples):
        here = abs(a) + abs(b) * x + abs(c) * x * x
        if taken == _RUN or grown > _GROWTH or magnified * here > most:
            yield at
            grown, taken, magnified = 1.0, 0, 1.0
        grown, taken, magnified, x = grown * a * a, taken + 1, magnified * here, _largest((a, b, c), x)


def _largest(triple: Triple, x: float) -> float:
    """The largest eigenvalue of a Gram matrix after a step, if before they were between 0 and x."""
    a, b, c = triple
    turns = []
    if c and 9 * b * b > 20 * a * c:  # where a + 3 b x + 5 c x^2 = 0
        root = math.sqrt(9 * b * b - 20 * a * c)
        turns = [(-3 * b - root) / (10 * c), (-3 * b + root) / (10 * c)]
    elif not c and b:
        turns = [-a / (3 * b)]
    return max(y * (a + b * y + c * y * y) ** 2 for y in (x, *(y for y in turns if 0 < y < x)))


def balanced(X: Tensor, eps: float) -> Tensor:
    """Rows of the shorter side scaled so that no singular value is above 1: Turbo-Muon's norm ("almost orthogonal").

    The rows of diag(s) X, with s_i = 1 / sqrt(max(sum over j of |A_ij|, eps)) and A the Gram matrix.
    """
    if X.shape[1] > X.shape[2]:
        return balanced(X.mT, eps).mT
    return X * torch.bmm(X, X.mT).abs().sum(2, keepdim=True).clamp(min=eps).rsqrt()
