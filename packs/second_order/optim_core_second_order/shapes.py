"""Shapes in which tensors are preconditioned; plain numbers, without torch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Run:
    """Pieces of one length that follow each other along an axis."""

    start: int
    count: int
    length: int


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


def kinds(shape: Shape, longest: int) -> list[tuple[Run, ...]]:
    """Blocks of at most ``longest`` along every axis (0: whole axes), those of one shape together: a run an axis.

    Example:
        >>> kinds((7, 2), 3)
        [(Run(start=0, count=2, length=3), Run(start=0, count=1, length=2)),
         (Run(start=6, count=1, length=1), Run(start=0, count=1, length=2))]
    """
    runs = []
    for d in shape:
        b = min(longest or d, d)
        rest = d % b
        runs.append([Run(0, d // b, b), *([Run(d - rest, 1, rest)] if rest else [])])
    return list(itertools.product(*runs))


def squares(shape: Shape, longest: int) -> list[Shape]:
    """For every kind of block, and each axis of it, as many d x d matrices as there are blocks.

    Example:
        >>> squares((6, 2), 3)
        [(2, 3, 3), (2, 2, 2)]
    """
    return [
        (math.prod(run.count for run in kind), run.length, run.length) for kind in kinds(shape, longest) for run in kind
    ]


def scalable_view(shape: Shape, block_size: int, *, merge: bool) -> Shape:
    """The shape in which ScalableShampoo preconditions; no axes at all where it does not."""
    view = merged(shape, block_size) if merge else shape
    return view if len(view) > 1 else ()


def distributed_view(shape: Shape, longest: int) -> Shape:
    """The shape in which DistributedShampoo preconditions: merged from the right."""
    return merged(shape[::-1], longest)[::-1]


def scalable_size(shape: Shape) -> int:
    """A d x d matrix for each axis of each block of at most 128, after merging; none for a single axis."""
    return sum(map(math.prod, squares(scalable_view(shape, 128, merge=True), 128)))


def distributed_size(shape: Shape) -> int:
    """A d x d matrix for each axis of each block of at most 1024, after merging."""
    return sum(map(math.prod, squares(distributed_view(shape, 1024), 1024)))
