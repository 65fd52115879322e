"""How tensors lie in memory, for engines that work on addresses."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping

import torch
from torch import Tensor

from optim_core.rules.graph import Extent
from optim_core.rules.values import Level


def obstacle(buffers: Mapping[str, Tensor], homes: Mapping[str, Extent], dtypes: Collection[torch.dtype]) -> str | None:
    """Why a parameter cannot be worked on as plain memory, or None if it can.

    Args:
        buffers: the parameter's tensors, by name.
        homes: where each of them lives.
        dtypes: the types that the engine knows.
    """
    return next(_of_kind(buffers, dtypes), None) or next(_of_layout(buffers, homes), None)


def _of_kind(buffers: Mapping[str, Tensor], dtypes: Collection[torch.dtype]) -> Iterator[str]:
    for name, x in buffers.items():
        if type(x) not in (Tensor, torch.nn.Parameter):
            yield f"{name} is a {type(x).__name__}"
        if x.dtype not in dtypes:
            yield f"{name} is of {x.dtype}"
        if x.layout is not torch.strided or x.is_neg() or x.is_conj():
            yield f"{name} is no plain memory"


def _of_layout(buffers: Mapping[str, Tensor], homes: Mapping[str, Extent]) -> Iterator[str]:
    p = buffers["p"]
    kinds = set(homes.values())
    if not _is_dense(p):
        yield "it has gaps in memory"
    for name, home in homes.items():
        x = buffers[name]
        if home == (Level.ELEMENT, 1):
            if x is not p and (x.stride() != p.stride() or x.shape != p.shape):
                yield "its tensors are laid out in memory in different ways"
        elif not x.is_contiguous():
            yield f"{name} is not contiguous"
    if any(home.every > 1 for home in kinds) and not p.is_contiguous():
        yield "its elements are sampled, and not in order in memory"
    if any(home.level is Level.ROW for home in kinds) and p.ndim > 1 and p.stride(0) * p.shape[0] != p.numel():
        yield "its rows are not each in one piece in memory"


def _is_dense(x: Tensor) -> bool:
    """Whether the elements fill a piece of memory, each once, in whatever order."""
    if x.is_contiguous():
        return True
    expected = 1
    for stride, size in sorted((s, n) for s, n in zip(x.stride(), x.shape, strict=True) if n != 1):
        if stride != expected:
            return False
        expected *= size
    return True


def overlap(tensors: Iterable[Tensor]) -> bool:
    """Whether any two of the tensors share memory; each of them is dense."""
    spans = sorted((x.data_ptr(), x.data_ptr() + x.nbytes) for x in tensors)
    return any(end > start for (_, end), (start, _) in itertools.pairwise(spans))
