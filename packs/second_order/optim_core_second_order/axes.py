"""Matrices that belong to the axes of tensors; dimension 0 of everything counts tensors in a stack."""

from __future__ import annotations

import torch
from torch import Tensor


def unfolded(x: Tensor, axis: int) -> Tensor:
    """mat_i: the axis in front, all others flattened; (B, d, n)."""
    if axis == x.ndim - 1:  # a view: products take transposed matrices as they are
        return x.reshape(x.shape[0], -1, x.shape[axis]).mT
    return x.movedim(axis, 1).reshape(x.shape[0], x.shape[axis], -1)


def along(x: Tensor, axis: int, M: Tensor) -> Tensor:
    """The matrix M, or the diagonal one of which it is the diagonal, applied along an axis."""
    if M.ndim == 2:
        return x * M.reshape(M.shape[0], *(M.shape[1] if i == axis else 1 for i in range(1, x.ndim)))
    if axis == x.ndim - 1:  # nothing needs to be moved
        return torch.bmm(x.reshape(x.shape[0], -1, x.shape[axis]), M.mT).reshape(x.shape)
    moved = x.movedim(axis, 1)
    return torch.bmm(M, moved.reshape(*moved.shape[:2], -1)).reshape(moved.shape).movedim(1, axis)


def solved(L: Tensor, x: Tensor, axis: int) -> Tensor:
    """The inverse of a lower triangular L applied along an axis."""
    moved = x.movedim(axis, 1)
    solution: Tensor = torch.linalg.solve_triangular(L, moved.reshape(*moved.shape[:2], -1), upper=False)
    return solution.reshape(moved.shape).movedim(1, axis)
