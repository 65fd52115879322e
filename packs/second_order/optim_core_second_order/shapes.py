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


def matrix_view(shape: Shape) -> Shape:
    """The matrix that a weight of two dimensions and more is: dimension 0 by all others."""
    return shape[0], math.prod(shape[1:])


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


def conda_size(shape: Shape) -> int:
    """A d x d matrix for the shorter axis of a matrix."""
    return min(shape) ** 2 if len(shape) == 2 else 0


def dion_basis(shape: Shape, rank_fraction: float, multiple_of: int) -> Shape:
    """The shape of Dion's Q: the shorter side by the rank.

    Example:
        >>> dion_basis((6, 2, 4), 0.5, 1), dion_basis((6, 2, 4), 0.5, 4)
        ((6, 3), (6, 4))
    """
    d = min(matrix_view(shape))
    return d, min(multiple_of * math.ceil(rank_fraction * d / multiple_of), d)


def shorter_square(shape: Shape) -> int:
    """A d x d matrix for the shorter side of a matrix (2 dimensions and more)."""
    return min(matrix_view(shape)) ** 2 if len(shape) > 1 else 0


def left_vectors(shape: Shape) -> int:
    """As many numbers as the shorter side is long for each row (2 dimensions and more)."""
    return matrix_view(shape)[0] * min(matrix_view(shape)) if len(shape) > 1 else 0


def right_vectors(shape: Shape) -> int:
    """As many numbers as the shorter side is long for each column (2 dimensions and more)."""
    return matrix_view(shape)[1] * min(matrix_view(shape)) if len(shape) > 1 else 0


def singular_values(shape: Shape) -> int:
    """A number for each singular value (2 dimensions and more)."""
    return min(matrix_view(shape)) if len(shape) > 1 else 0


def kron_view(shape: Shape, *, merge: bool) -> Shape:
    """The shape in which Kron preconditions: a matrix, rather a tall one, for more than two dimensions.

    Example:
        >>> kron_view((4, 2, 3, 3), merge=True)
        (24, 3)
    """
    if len(shape) > 2 and merge:
        tall, wide = (math.prod(shape[:-1]), shape[-1]), (shape[0], math.prod(shape[1:]))
        return tall if tall[1] - tall[0] <= wide[1] - wide[0] else wide
    return shape or (1,)


def kron_factors(view: Shape, max_size: int, min_ndim: int, memory_save_mode: str | None) -> list[Shape]:
    """For every axis the shape of its factor: a square one, or its diagonal."""
    by_length = sorted(range(len(view)), key=lambda axis: view[axis])
    tied = len(view) < 2 or view[by_length[-1]] == view[by_length[-2]]
    spared = {
        "all_diag": by_length,
        "one_diag": by_length[-1:],
        "smart_one_diag": [] if tied else by_length[-1:],
    }.get(memory_save_mode or "", [])
    if len(view) < min_ndim:
        spared = by_length
    return [(d,) if d == 1 or d > max_size or axis in spared else (d, d) for axis, d in enumerate(view)]


def kron_size(shape: Shape) -> int:
    """A d x d matrix for each axis of the merged matrix, a diagonal for axes of 1 or more than 8192 and for vectors."""
    return sum(map(math.prod, kron_factors(kron_view(shape, merge=True), 8192, 2, None)))


def longer_side(shape: Shape) -> int:
    """One number for each row of a matrix, or for each column of a wide one (2 dimensions and more)."""
    return max(shape[0], math.prod(shape[1:])) if len(shape) > 1 else 0


def columns_squared(shape: Shape) -> int:
    """A square matrix of as many rows as the matrix has columns (2 dimensions and more)."""
    return math.prod(shape[1:]) ** 2 if len(shape) > 1 else 0
