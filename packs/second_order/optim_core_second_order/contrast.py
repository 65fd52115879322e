"""What Contra-Muon and Soft-Muon share: the length of single slices, and the least length of a step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

#: Norms of a stack of matrices, each (B, 1, 1).
Norms = Callable[[Tensor], Tensor]


def slices_of(shape: tuple[int, ...], group: Mapping[str, Any]) -> tuple[int, ...]:
    """The shape of a number for each row, or for each column of a wide matrix."""
    del group
    return (max(shape[0], math.prod(shape[1:])),)


def even(X: Tensor, V: Tensor, beta2: float, norms: Norms) -> tuple[Tensor, Tensor]:
    """Rows (columns of a wide matrix) divided by the root of their average mean square V, with the norm of before."""
    tall = X.shape[1] >= X.shape[2]
    V = torch.lerp(X.square().mean(2 if tall else 1), V, beta2)
    Y = X / V.clamp(min=1e-10).sqrt().unsqueeze(2 if tall else 1)
    return sized(Y, norms(X), norms), V


def sized(X: Tensor, size: Tensor, norms: Norms) -> Tensor:
    """X with another norm."""
    return X * (size / norms(X).clamp(min=1e-10))


def frobenius(X: Tensor) -> Tensor:
    """Frobenius norms."""
    length: Tensor = torch.linalg.matrix_norm(X, keepdim=True)
    return length


def schatten4(X: Tensor) -> Tensor:
    """(sum of the singular values to the power 4)^(1/4), a near upper bound of the spectral norm."""
    small = X if X.shape[1] <= X.shape[2] else X.mT
    return frobenius(torch.bmm(small, small.mT)).sqrt().clamp(min=1e-10)


def floored(X: Tensor, p: Tensor, floor: float) -> Tensor:
    """sqrt(max(1, rows/columns)) X, but at least ``floor`` times as long as p."""
    X = max(1, X.shape[1] / X.shape[2]) ** 0.5 * X
    q = frobenius(X).clamp(min=1e-8) / frobenius(p).clamp(min=1e-8)
    return X * (floor / q).clamp(min=1)
