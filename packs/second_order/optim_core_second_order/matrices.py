"""Functions of stacks of matrices that methods for hidden matrices share; weights of more dimensions count as such."""

from __future__ import annotations

import torch
from torch import Tensor


def frobenius(X: Tensor) -> Tensor:
    """The norm of each matrix of a stack, as a stack."""
    norm: Tensor = torch.linalg.vector_norm(X, dim=(1, 2), keepdim=True)
    return norm


def inner(X: Tensor, Y: Tensor) -> Tensor:
    """The inner product of each pair of matrices, as a stack."""
    return (X * Y).sum((1, 2), keepdim=True)


def schatten4(X: Tensor, least: float) -> Tensor:
    """The root of the norm of the Gram matrix, an upper bound of the spectral norm, as a stack."""
    side = X if X.shape[1] <= X.shape[2] else X.mT
    return frobenius(side @ side.mT).sqrt().clamp(min=least)
