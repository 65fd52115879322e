"""Types and views that everything which touches a tensor agrees on."""

from __future__ import annotations

import torch
from torch import Tensor

_LOW_PRECISION = (torch.float16, torch.bfloat16)


def compute_dtype(p: Tensor) -> torch.dtype:
    """The type of arithmetic and of states: the parameter's, but at least float32."""
    return torch.float32 if p.dtype in _LOW_PRECISION else p.dtype


def real(x: Tensor) -> Tensor:
    """The tensor itself, or the pairs of real numbers behind a complex one."""
    return torch.view_as_real(x) if x.is_complex() else x


def total_dtype(device: torch.device) -> torch.dtype:
    """The type in which totals are summed and states of the whole are kept (Apple's GPUs have no float64)."""
    return torch.float32 if device.type == "mps" else torch.float64
