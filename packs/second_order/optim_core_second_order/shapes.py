"""Shapes in which tensors are preconditioned; plain numbers, without torch."""

from __future__ import annotations

from collections.abc import Iterable

Shape = tuple[int, ...]


def merged(shape: Iterable[int], longest: int) -> Shape:
    """Neighbouring axes made one, from the left, while their product is at most ``longest``; axes of 1 vanish.

    Example:
        >>> merged((4, 1, 3, 3), 12), merged((64, 3, 3), 9), merged((1, 1), 8)
        ((12, 3), (64, 9), (1,))
    """
    found, product = [], 1
    for d in shape:
        if product * d > longest and product > 1:
            found.append(product)
            product = 1
        product *= d
    return (*found, product) if product > 1 or not found else tuple(found)
