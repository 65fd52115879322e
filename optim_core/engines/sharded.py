"""Tensors that lie on several devices in parts (torch's DTensor, which FSDP2 makes of parameters).

The eager engine works on them with torch operations. A reduction leaves each device with its own part, which is summed
up here; states on coarser levels lie as the rows and tensors that they belong to.

torch.distributed is imported where there is such a tensor only: it is slow to import, and not in every build of torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def is_sharded(x: Tensor) -> bool:
    """Whether it is a DTensor."""
    return type(x) not in (Tensor, torch.nn.Parameter) and hasattr(x, "full_tensor")


def gathered(x: Any) -> Tensor:
    """The result of a reduction, with what is partial in it summed up."""
    if is_sharded(x):
        from torch.distributed.tensor import Replicate

        x = x.redistribute(placements=[Replicate() if held.is_partial() else held for held in x.placements])
    return x  # type: ignore[no-any-return]


def full_tensor(x: Any) -> Tensor:
    """A sum over all parameters as a plain tensor, the same on every device."""
    return x.full_tensor() if is_sharded(x) else x  # type: ignore[no-any-return]


def first_of(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Of a sharded tensor the first number of each row, or of it all, by the shape of that; sharded as its rows are."""
    return x[tuple(slice(0, size) for size in shape)] if shape else gathered(x.sum())


def placed_like(x: Tensor, like: Any) -> Tensor:
    """A plain tensor that is the same on every device, placed as another tensor is."""
    if is_sharded(like):
        from torch.distributed.tensor import DTensor, Replicate

        everywhere = [Replicate()] * len(like.placements)
        whole: Any = DTensor.from_local(x, like.device_mesh, everywhere, run_check=False)
        x = whole.redistribute(placements=like.placements)  # takes its part of it, without a word to others
    return x
