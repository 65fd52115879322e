"""A second moment that is kept as the means of rows and columns, for AdaFactor and what follows it."""

from __future__ import annotations

import torch
from torch import Tensor

from optim_core import state
from optim_core.methods import State
from optim_core.rules import Value, mean, sqrt, square, stacked


def row_means(doc: str) -> State:
    """Declare means over the last dimension, for two dimensions and more."""
    return state(doc, shape=lambda shape, group: shape[:-1] if len(shape) > 1 else None)


def column_means(doc: str) -> State:
    """Declare means over the last but one dimension, for two dimensions and more."""
    return state(doc, shape=lambda shape, group: (*shape[:-2], shape[-1]) if len(shape) > 1 else None)


@stacked("own", "own")
def averaged(R: Tensor, C: Tensor, q: Tensor, *, b: float) -> tuple[Tensor, Tensor]:
    """R and C with the means of q."""
    return torch.lerp(q.mean(dim=-1), R, b), torch.lerp(q.mean(dim=-2), C, b)


@stacked("element")
def inverse_root(R: Tensor, C: Tensor) -> Tensor:
    """1 / sqrt(R C / mean(R))."""
    share = R / R.mean(dim=-1, keepdim=True)
    return share.rsqrt().unsqueeze(-1) * C.rsqrt().unsqueeze(-2)


def rms(x: Value) -> Value:
    """The root mean square."""
    return sqrt(mean(square(x)))
