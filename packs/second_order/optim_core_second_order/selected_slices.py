"""Dion2's part of a matrix that a step works on, made orthogonal."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from optim_core_second_order.coefficients import Coefficients, Triple, triples_of
from optim_core_second_order.newton_schulz import orthogonalised

#: One triple for all steps, or one for each.
Triples = Triple | tuple[Triple, ...]

#: Polar Express in five steps, for norms that are divided by 1.02 more: as Dion's authors take it.
POLAR_EXPRESS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)


def orthogonal_slices(
    M: Tensor, *, fraction: float, keep: float, side: Literal["rows", "shorter"], eps: float, **iteration: Any
) -> tuple[Tensor, Tensor]:
    """Take the slices of each matrix with the largest sums of sizes, and make them orthogonal.

    Args:
        M: a stack of matrices of all but the first dimension.
        fraction: how many of the slices are taken, one at least.
        keep: what those that are taken are multiplied by.
        side: what slices are: rows, or columns where those are fewer.
        eps: added to the norm before the iteration.
        iteration: as for :func:`iterated`.

    Returns:
        M after that; the orthogonal matrices, 0 where nothing was taken.
    """
    matrices = M.flatten(2)
    by_column = side == "shorter" and matrices.shape[1] > matrices.shape[2]
    X = matrices.mT if by_column else matrices
    count = max(1, math.ceil(fraction * X.shape[1]))
    chosen = X.abs().sum(2).topk(count, dim=1).indices.unsqueeze(2).expand(-1, -1, X.shape[2])
    S = X.gather(1, chosen)
    X = X.scatter(1, chosen, keep * S)
    U = torch.zeros_like(X).scatter(1, chosen, iterated(S, eps, **iteration))
    X, U = (X.mT, U.mT) if by_column else (X, U)
    return X.reshape(M.shape), U.reshape(M.shape)


def iterated(
    X: Tensor,
    eps: float,
    *,
    steps: int,
    coefficients: Coefficients,
    dtype: str,
    end: str = "cycle",
    norm_scale: float = 1.0,
    clamp: bool = False,
) -> Tensor:
    """A stack of matrices with singular values near 1, in the type that it has.

    Args:
        X: the stack.
        eps: added to the norm.
        steps: how many of the iteration.
        coefficients: as the option ``ns_coefficients``.
        dtype: the precision of the iteration.
        end: what follows the last triple.
        norm_scale: factor of the norm.
        clamp: whether eps is the norm's least value instead.
    """
    norm = norm_scale * torch.linalg.matrix_norm(X, keepdim=True)
    Y = (X / (norm.clamp(min=eps) if clamp else norm + eps)).to(getattr(torch, dtype))
    return orthogonalised(Y, triples_of(coefficients, int(steps), end)).to(X.dtype)
