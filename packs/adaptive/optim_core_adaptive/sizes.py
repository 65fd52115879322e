"""Sizes of states that the core has no word for. No torch."""

from __future__ import annotations

import math

Shape = tuple[int, ...]


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
