"""What is stepped: two sets of parameters, one of many small tensors and one of a few large ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch.nn import Parameter

Shape = tuple[int, ...]


@dataclass(frozen=True)
class ShapeSet:
    """Linear layers with biases, all of one width.

    Example:
        >>> ShapeSet("tiny", layers=2, width=3).shapes
        ((3, 3), (3,), (3, 3), (3,))
    """

    name: str
    layers: int
    width: int

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes of the parameters, in order."""
        return ((self.width, self.width), (self.width,)) * self.layers

    @property
    def numel(self) -> int:
        """How many numbers the parameters hold together."""
        return sum(math.prod(shape) for shape in self.shapes)

    @property
    def title(self) -> str:
        """The set in words."""
        return (
            f"{2 * self.layers} tensors, {self.layers} of {self.width} x {self.width} and {self.layers} of {self.width}"
        )

    def parameters(self) -> list[Parameter]:
        """Fresh parameters with gradients, float32, the same at every call."""
        # A generator of its own: contenders that draw random numbers do not change what the next one starts from.
        generator = torch.Generator().manual_seed(0)
        params = [Parameter(0.1 * torch.randn(shape, generator=generator)) for shape in self.shapes]
        for p in params:
            p.grad = 0.01 * torch.randn(p.shape, generator=generator)
        return params


SHAPE_SETS: Mapping[str, ShapeSet] = {
    "small": ShapeSet("small", layers=100, width=64),
    "big": ShapeSet("big", layers=16, width=1024),
}
