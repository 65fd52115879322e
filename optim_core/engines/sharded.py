"""Sharded tensors: those that lie in parts on several devices (torch's DTensor, which FSDP2 makes of parameters).

The eager engine works on them with torch operations. A reduction leaves each device with a partial result; these
are summed up here. States on coarser levels are sharded as the rows and tensors that they belong to.

torch.distributed is imported only where there is such a tensor: it is slow to import, and not in every build of torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

#: The first torch whose operations on lists of tensors all know what to do with shards: in 2.12 six do not.
SINCE = "2.13"


def is_sharded(x: Tensor) -> bool:
    """True for a DTensor."""
    return type(x) not in (Tensor, torch.nn.Parameter) and hasattr(x, "full_tensor")


def gathered(x: Any) -> Tensor:
    """The result of a reduction, with the partial results of all devices summed up."""
    if is_sharded(x):
        from torch.distributed.tensor import Replicate

        x = x.redistribute(placements=[Replicate() if held.is_partial() else held for held in x.placements])
    return x  # type: ignore[no-any-return]


def full_tensor(x: Any) -> Tensor:
    """A tensor as a plain one, whole and the same on every device."""
    return x.full_tensor() if is_sharded(x) else x  # type: ignore[no-any-return]


def first_of(x: Tensor, shape: Sequence[int]) -> Tensor:
    """The first number of each row of a sharded tensor, sharded as its rows are; or one number, if ``shape`` is ``()``.

    A state per row or per tensor is made like it.
    """
    return x[tuple(slice(0, size) for size in shape)] if shape else gathered(x.sum())


def placed_like(x: Tensor, like: Any) -> Tensor:
    """A plain tensor that is the same on every device, sharded as another tensor is."""
    if is_sharded(like):
        from torch.distributed.tensor import DTensor, Replicate

        everywhere = [Replicate()] * len(like.placements)
        whole: Any = DTensor.from_local(x, like.device_mesh, everywhere, run_check=False)
        x = whole.redistribute(placements=like.placements)  # takes its part of it, without a word to others
    return x
