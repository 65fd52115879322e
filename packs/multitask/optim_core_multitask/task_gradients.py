"""Gradients of the tasks, stacked along a first dimension: their norms, sums and mean direction."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from optim_core.methods import compute_dtype
from optim_core_multitask.over_ranks import norms_over_ranks

#: Added to norms and weights before something is divided by them.
TINY = 1e-15


def unscaled(g: Tensor, scale: Tensor | None) -> Tensor:
    """A gradient without the factor of a GradScaler, in the type of arithmetic."""
    return g if scale is None else g.to(compute_dtype(g)) / scale.to(g.device)


def norms(gradients: Tensor, optimizer: Optimizer) -> Tensor:
    """The norm of each task's gradient, over the whole batch: [tasks]."""
    return norms_over_ranks(torch.stack([g.norm() for g in gradients]), optimizer)


def weighted(weights: Tensor, gradients: Tensor) -> Tensor:
    """The weighted sum of the gradients."""
    return torch.einsum("i,i...->...", weights.to(gradients.dtype), gradients)


def direction(gradients: Tensor, optimizer: Optimizer) -> Tensor:
    """The mean of the gradients, each scaled to the norm of their mean."""
    mean = norms(gradients.mean(0, keepdim=True), optimizer)
    scales = (mean + TINY) / (norms(gradients, optimizer) + TINY)
    return weighted(scales, gradients) / len(gradients)
