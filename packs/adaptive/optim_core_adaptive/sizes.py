"""Sizes of states that the core has no word for, as functions of the parameter's shape. No torch."""

from __future__ import annotations

import math

from optim_core_adaptive.subsets import scaled_blocks, subset_length

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


def matrix(shape: Shape) -> int:
    """As the parameter (exactly 2 dimensions)."""
    return math.prod(shape) if len(shape) == 2 else 0


def block(shape: Shape) -> int:
    """One number per parameter; for biases as the parameter, for rows or heads one number each."""
    return math.prod(shape) if len(shape) < 2 else 1


def largest_is_one(shape: Shape) -> int:
    """As the parameter without its largest dimension (if the second largest is 16 or more)."""
    return math.prod(shape) // max(shape) if _is_factored(shape) else 0


def second_largest_is_one(shape: Shape) -> int:
    """As the parameter without its second largest dimension (if that is 16 or more)."""
    return math.prod(shape) // sorted(shape)[-2] if _is_factored(shape) else 0


def element_unless_factored(shape: Shape) -> int:
    """As the parameter (if its second largest dimension is below 16)."""
    return 0 if _is_factored(shape) else math.prod(shape)


def _is_factored(shape: Shape) -> bool:
    return len(shape) > 1 and sorted(shape)[-2] >= 16


def scales(shape: Shape) -> int:
    """A number for each block of about 9 elements and more."""
    return scaled_blocks(math.prod(shape))


def codebook(shape: Shape) -> int:
    """256 numbers."""
    del shape
    return 256


def in_32s(shape: Shape) -> int:
    """A number for 32 elements."""
    return -(-math.prod(shape) // 32)


def below_4096(shape: Shape) -> int:
    """As the parameter (of fewer than 4096 elements)."""
    return math.prod(shape) if math.prod(shape) < 4096 else 0


def from_4096(shape: Shape) -> int:
    """A byte for an element (of parameters of 4096 and more)."""
    return math.prod(shape) - below_4096(shape)


def in_256s(shape: Shape) -> int:
    """A number for 256 elements (of parameters of 4096 and more)."""
    return -(-from_4096(shape) // 256)
