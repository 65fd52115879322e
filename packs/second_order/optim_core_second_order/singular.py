"""Singular vectors of stacks of matrices."""

from __future__ import annotations

import torch
from torch import Tensor


def svd(X: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U, the singular values, descending, and V^T, of the shorter side's size, of a stack of matrices.

    Where LAPACK gives up in float32 it gets float64; what is not finite gives NaN, as in any other method, instead of
    an error in the middle of a step.
    """
    try:
        U, S, Vh = torch.linalg.svd(X, full_matrices=False)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # exported, but not to type checkers
        if not bool(X.isfinite().all()):
            k = min(X.shape[-2:])
            shapes = ((*X.shape[:-1], k), (*X.shape[:-2], k), (*X.shape[:-2], k, X.shape[-1]))
            U, S, Vh = (X.new_full(shape, torch.nan) for shape in shapes)
            return U, S, Vh
        U, S, Vh = torch.linalg.svd(X.double(), full_matrices=False)
    return U.to(X.dtype), S.to(X.dtype), Vh.to(X.dtype)
