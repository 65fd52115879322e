"""Aurora's orthogonal matrices with rows of equal length, for stacks of tall matrices."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Polar = Callable[[Tensor], Tensor]


def iterative(X: Tensor, polar: Polar, count: int, beta: float, eps: float) -> Tensor:
    """The orthogonal factor of X with rows weighted so that those of the factor become equal.

    Args:
        X: the stack.
        polar: finds orthogonal factors.
        count: how often the factor is taken; weights are corrected in between.
        beta: exponent of the corrections.
        eps: least length of a row.
    """
    wanted = X.shape[2] / X.shape[1]
    D = 1 / _lengths(X).clamp(min=eps)
    U = polar(D * X)
    for _ in range(count - 1):
        D = D * (wanted / _lengths(U).square().clamp(min=eps**2)) ** beta
        U = polar(D * X)
    return U


def _lengths(X: Tensor) -> Tensor:
    """The length of each row, (B, rows, 1)."""
    lengths: Tensor = torch.linalg.vector_norm(X, dim=2, keepdim=True)
    return lengths
