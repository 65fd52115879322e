"""Gradients of the tasks, stacked along a first dimension: their norms, sums and mean direction."""

from __future__ import annotations

import torch
from torch import Tensor

from optim_core.methods import compute_dtype

#: Added to norms and weights before something is divided by them.
TINY = 1e-15


def unscaled(g: Tensor, scale: Tensor | None) -> Tensor:
    """A gradient without the factor of a GradScaler, in the type of arithmetic."""
    return g if scale is None else g.to(compute_dtype(g)) / scale.to(g.device)


def norms(gradients: Tensor) -> Tensor:
    """The norm of each task's gradient: [tasks]."""
    return torch.stack([g.norm() for g in gradients])


def weighted(weights: Tensor, gradients: Tensor) -> Tensor:
    """The weighted sum of the gradients."""
    return torch.einsum("i,i...->...", weights.to(gradients.dtype), gradients)


def direction(gradients: Tensor) -> Tensor:
    """The mean of the gradients, each scaled to the norm of their mean."""
    scales = (gradients.mean(0).norm() + TINY) / (norms(gradients) + TINY)
    return weighted(scales, gradients) / len(gradients)
