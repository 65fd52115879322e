"""Tensors in the shape in which they are rotated, axis by axis; dimension 0 of everything counts tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optim_core.rules import stacked
from optim_core_second_order.axes import along, unfolded
from optim_core_second_order.roots import eigh
from optim_core_second_order.shapes import Shape, rotated


def squares(shape: Shape, group: Mapping[str, Any]) -> list[Shape] | None:
    """A d x d matrix for each axis that is rotated, with a group's options."""
    view, axes = rotated(shape, **group)
    return None if not axes else [(view[axis - 1], view[axis - 1]) for axis in axes]


class View:
    """A stack in the shape in which it is rotated.

    Args:
        shape: the parameter's.
        how: the options that say which shape that is.
    """

    def __init__(self, shape: Sequence[int], how: Mapping[str, Any]) -> None:
        self.shape, self.axes = rotated(tuple(shape), **how)
        last = how.get("merge_dims") and how.get("data_format") == "channels_last" and len(shape) == 4
        self._channels = 2 if last else -1

    def of(self, x: Tensor) -> Tensor:
        """The stack in that shape."""
        self._moved = x.movedim(-1, self._channels).shape
        return x.movedim(-1, self._channels).reshape(len(x), *self.shape)

    def back(self, x: Tensor) -> Tensor:
        """The stack in the parameter's shape again."""
        return x.reshape(self._moved).movedim(self._channels, -1)

    def along_axes(self, x: Tensor, matrices: Sequence[Tensor]) -> Tensor:
        """A matrix applied along every axis that is rotated."""
        for axis, B in zip(self.axes, matrices, strict=True):
            x = along(x, axis, B)
        return x

    def unfolded(self, g: Tensor) -> list[Tensor]:
        """A stack of gradients with each axis that is rotated in front, the others flattened."""
        return [unfolded(self.of(g), axis) for axis in self.axes]


@stacked("own")
def averaged(GG: list[Tensor], g: Tensor, *, beta: float, **how: Any) -> list[Tensor]:
    """Averages of Gram matrices."""
    unfolding = View(g.shape[1:], how).unfolded(g)
    return [torch.baddbmm(M, G, G.mT, beta=beta, alpha=1 - beta) for M, G in zip(GG, unfolding, strict=True)]


@stacked("own")
def eigenvectors(GG: list[Tensor], *, ridge: float = 0.0) -> list[Tensor]:
    """Eigenvectors of GG + ridge I, those of the largest eigenvalues first."""
    ridged = [M + ridge * torch.eye(M.shape[-1], dtype=M.dtype, device=M.device) if ridge else M for M in GG]
    return [eigh(M)[1].flip(2) for M in ridged]


@stacked("element")
def rot(x: Tensor, Q: list[Tensor], **how: Any) -> Tensor:
    """Q_i^T along every axis."""
    view = View(x.shape[1:], how)
    return view.back(view.along_axes(view.of(x), [B.mT for B in Q]))


@stacked("element")
def unrot(x: Tensor, Q: list[Tensor], **how: Any) -> Tensor:
    """Q_i along every axis."""
    view = View(x.shape[1:], how)
    return view.back(view.along_axes(view.of(x), Q))


def permuted(x: Tensor, axis: int, order: Tensor) -> Tensor:
    """Entries along an axis in the order given, one for each tensor of the stack."""
    shape = [len(x), *(order.shape[1] if i == axis else 1 for i in range(1, x.ndim))]
    return x.gather(axis, order.reshape(shape).expand(x.shape))
