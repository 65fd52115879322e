"""Types and views that everything that touches a tensor agrees on."""

from __future__ import annotations

import torch
from torch import Tensor

from optim_core.rules.values import ComplexShape

_LOW_PRECISION = (torch.float16, torch.bfloat16)


def compute_dtype(p: Tensor) -> torch.dtype:
    """The type of arithmetic and of states: the parameter's, but at least float32."""
    return torch.float32 if p.dtype in _LOW_PRECISION else p.dtype


def real(x: Tensor) -> Tensor:
    """The tensor itself, or a view of a complex one as pairs of real numbers."""
    return torch.view_as_real(x) if x.is_complex() else x


def shape_of(p: Tensor) -> tuple[int, ...]:
    """The shape of a parameter, as rules ask for it."""
    return ComplexShape(p.shape) if p.is_complex() else tuple(p.shape)


def as_pairs(x: Tensor, p: Tensor) -> Tensor:
    """A tensor of a parameter's as engines take it: real, and with the parameter's rows, which one number is, too."""
    x = real(x)
    return x.unsqueeze(0) if x.ndim and p.is_complex() and not p.ndim else x


def total_dtype(device: torch.device) -> torch.dtype:
    """The type of totals, and of states on level WHOLE: float64, except on Apple's GPUs, which have none."""
    return torch.float32 if device.type == "mps" else torch.float64
