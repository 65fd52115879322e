"""Sizes of states, as functions of the parameter's shape; plain numbers, without torch."""

from __future__ import annotations

import math

from optim_core_adaptive.subsets import subset_length

Shape = tuple[int, ...]


def subsets(shape: Shape) -> int:
    """One number for about half the root of the number of elements."""
    numel = math.prod(shape)
    return numel // subset_length(numel, -2)


def vectors(shape: Shape) -> int:
    """A number for each row and each column, size(0) rows; as the parameter below 2 dimensions."""
    return shape[0] + math.prod(shape[1:]) if len(shape) > 1 else math.prod(shape)


def scaled_vectors(shape: Shape) -> int:
    """A number for each row and each column, size(0) rows, and a scale; as the parameter below 2 dimensions."""
    return vectors(shape) + (len(shape) > 1)
