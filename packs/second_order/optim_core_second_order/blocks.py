"""Tensors cut into blocks, which are preconditioned on their own; dimension 0 of everything counts tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from optim_core_second_order.axes import along, unfolded
from optim_core_second_order.shapes import Run, kinds


def cut(x: Tensor, longest: int) -> list[Tensor]:
    """The blocks of a stack, those of one shape stacked: (B n, *shape of the block) for every kind."""
    blocks = []
    for kind in kinds(tuple(x.shape[1:]), longest):
        part = _region(x, kind).reshape(len(x), *(m for run in kind for m in (run.count, run.length)))
        counts, lengths = range(1, part.ndim, 2), range(2, part.ndim, 2)
        blocks.append(part.permute(0, *counts, *lengths).reshape(-1, *(run.length for run in kind)))
    return blocks


def joined(blocks: Sequence[Tensor], like: Tensor, longest: int) -> Tensor:
    """The stack of which these are the blocks."""
    x = torch.empty_like(like, memory_format=torch.contiguous_format)
    for kind, part in zip(kinds(tuple(like.shape[1:]), longest), blocks, strict=True):
        r = len(kind)
        apart = part.reshape(len(like), *(run.count for run in kind), *(run.length for run in kind))
        order = [i for axis in range(1, r + 1) for i in (axis, r + axis)]
        region = _region(x, kind)
        region.copy_(apart.permute(0, *order).reshape(region.shape))
    return x


def added(matrices: Sequence[Tensor], blocks: Sequence[Tensor], *, keep: float, share: float) -> list[Tensor]:
    """keep H + share mat_i(b) mat_i(b)^T for every kind of block and each axis; H of shape (B, n, d, d)."""
    unfolding = (unfolded(b, axis) for b in blocks for axis in range(1, b.ndim))
    return [
        torch.baddbmm(H.flatten(0, 1), G, G.mT, beta=keep, alpha=share).reshape(H.shape)
        for H, G in zip(matrices, unfolding, strict=True)
    ]


def turned(blocks: Sequence[Tensor], matrices: Sequence[Tensor]) -> list[Tensor]:
    """The blocks with a matrix applied along each axis, taken in the order of :func:`added`; (B, n, d, d)."""
    left, done = (M.flatten(0, 1) for M in matrices), []
    for b in blocks:
        for axis in range(1, b.ndim):
            b = along(b, axis, next(left))  # noqa: PLW2901 - axis by axis
        done.append(b)
    return done


def grafted(x: Tensor, a: Tensor) -> Tensor:
    """The direction of x with the length of a, for each tensor of a stack."""
    own: Tensor
    wanted: Tensor
    own, wanted = (torch.linalg.vector_norm(y.reshape(len(y), -1), dim=1) for y in (x, a))
    return x * (wanted / (own + 1e-16)).reshape(-1, *(1 for _ in x.shape[1:]))


def _region(x: Tensor, kind: Sequence[Run]) -> Tensor:
    for axis, run in enumerate(kind, start=1):
        x = x.narrow(axis, run.start, run.count * run.length)
    return x
