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


def rotated(
    shape: Shape,
    *,
    max_precond_dim: int,
    merge_dims: bool = False,
    precondition_1d: bool = False,
    data_format: str = "channels_first",
    as_matrix: bool = False,
    shortest: int = 1,
    **_: object,
) -> tuple[Shape, list[int]]:
    """The shape in which a parameter is rotated, and the axes of it that are, counted from 1.

    Example:
        >>> rotated((4, 2, 3, 3), max_precond_dim=8, merge_dims=True), rotated((5,), max_precond_dim=8)
        (((8, 3, 3), [1, 2, 3]), ((5,), []))
    """
    if len(shape) < 2 and not precondition_1d:
        return shape, []
    if as_matrix:
        shape = matrix_view(shape)
    if merge_dims and len(shape) > 1:
        shape = merged(_channels_first(shape) if data_format == "channels_last" else shape, max_precond_dim)
    return shape, [axis for axis, d in enumerate(shape, start=1) if shortest <= d <= max_precond_dim]


def matrix_view(shape: Shape) -> Shape:
    """Rows and columns of a weight of two dimensions and more: dimension 0, and all others.

    Example:
        >>> matrix_view((4, 2, 3, 3))
        (4, 18)
    """
    return (shape[0], math.prod(shape[1:]))


def _channels_first(shape: Shape) -> Shape:
    return (shape[0], shape[3], *shape[1:3]) if len(shape) == 4 else shape


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


def dash_size(shape: Shape) -> int:
    """A d x d matrix for each axis of each block of at most 1024 (2 dimensions and more)."""
    return sum(map(math.prod, squares(matrix_view(shape), 1024))) if len(shape) > 1 else 0


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


def both_sides(shape: Shape) -> int:
    """A number for each row and each column (2 dimensions and more)."""
    return sum(matrix_view(shape)) if len(shape) > 1 else 0


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


def without_ones(shape: Shape) -> Shape:
    """The shape in which PSGD without merging preconditions: axes of 1 are left out.

    Example:
        >>> without_ones((12, 1, 3, 3)), without_ones((1,))
        ((12, 3, 3), (1,))
    """
    return tuple(d for d in shape if d != 1) or (1,)


def psgd_size(shape: Shape) -> int:
    """A d x d matrix for each axis longer than 1, a diagonal for axes longer than 2048 and for vectors."""
    return sum(map(math.prod, kron_factors(without_ones(shape), 2048, 2, None)))


def psgd_bases(shape: Shape) -> int:
    """A d x d matrix for each axis of 2 to 2048; none for vectors."""
    return sum(math.prod(f) for f in kron_factors(without_ones(shape), 2048, 2, None) if len(f) == 2)


def psgd_axes(shape: Shape) -> int:
    """One number for each axis longer than 1."""
    return len(without_ones(shape))


def kron_size(shape: Shape) -> int:
    """A d x d matrix for each axis of the merged matrix, a diagonal for axes of 1 or more than 8192 and for vectors."""
    return sum(map(math.prod, kron_factors(kron_view(shape, merge=True), 8192, 2, None)))


def projected_axes(shape: Shape, rank: int | None, proj_type: str) -> list[int]:
    """The axes of a matrix along which it is projected, counted from 1; none without a rank, and for anything else.

    Example:
        >>> projected_axes((6, 4), 2, "std"), projected_axes((6, 4), 2, "full"), projected_axes((6,), 2, "std")
        ([2], [1, 2], [])
    """
    if rank is None or len(shape) != 2:
        return []
    tall = shape[0] >= shape[1]
    return {
        "std": [2 if tall else 1],
        "reverse_std": [1 if tall else 2],
        "left": [1],
        "right": [2],
        "full": [1, 2],
    }[proj_type]


def projected(shape: Shape, rank: int | None, proj_type: str) -> Shape:
    """The shape of a projected matrix; that of anything else stays.

    Example:
        >>> projected((6, 4), 2, "std"), projected((6, 4), 5, "left")
        ((6, 2), (4, 4))
    """
    axes = projected_axes(shape, rank, proj_type)
    return tuple(min(rank or d, *shape) if axis in axes else d for axis, d in enumerate(shape, start=1))


def _projection_size(shape: Shape, rank: int) -> int:
    axes = projected_axes(shape, rank, "std")
    return sum(shape[axis - 1] * projected(shape, rank, "std")[axis - 1] for axis in axes)


def within_128(shape: Shape) -> int:
    """As the parameter; of a matrix the shorter side is at most 128."""
    return math.prod(projected(shape, 128, "std"))


def within_8(shape: Shape) -> int:
    """As the parameter; of a matrix the shorter side is at most 8."""
    return math.prod(projected(shape, 8, "std"))


def basis_of_128(shape: Shape) -> int:
    """The shorter side of a matrix times at most 128; nothing for other parameters."""
    return _projection_size(shape, 128)


def basis_of_8(shape: Shape) -> int:
    """The shorter side of a matrix times at most 8; nothing for other parameters."""
    return _projection_size(shape, 8)


def matrix_axes(shape: Shape) -> int:
    """A d x d matrix for each axis of a matrix; nothing for other parameters."""
    return sum(d * d for d in shape) if len(shape) == 2 else 0


def columns(shape: Shape) -> int:
    """One number for each column of the matrix, dimension 0 by all others."""
    return math.prod(shape[1:])


def kl_size(shape: Shape) -> int:
    """A d x d matrix for each axis of 2 to 2048, after merging; none for vectors."""
    view, axes = rotated(shape, max_precond_dim=2048, merge_dims=True, shortest=2)
    return sum(view[axis - 1] ** 2 for axis in axes)


def grams(shape: Shape) -> int:
    """A d x d matrix for each side of a weight as a matrix, up to 10000; nothing for vectors."""
    view, axes = rotated(shape, max_precond_dim=10000, as_matrix=True)
    return sum(view[axis - 1] ** 2 for axis in axes)


def all_grams(shape: Shape) -> int:
    """A d x d matrix for each side of a weight as a matrix; nothing for vectors."""
    return sum(d * d for d in matrix_view(shape)) if len(shape) > 1 else 0


def longer_side(shape: Shape) -> int:
    """A number for each row or column of a weight as a matrix, on the longer side; nothing for squares and vectors."""
    return 0 if len(shape) < 2 or len(set(matrix_view(shape))) == 1 else max(matrix_view(shape))


def low_rank_side(shape: Shape, proj_type: str) -> int:
    """The side of a matrix that LDAdam projects: 0 for rows.

    Example:
        >>> low_rank_side((6, 4), "std"), low_rank_side((6, 4), "reverse_std"), low_rank_side((4, 4), "reverse_std")
        (1, 0, 0)
    """
    rows, columns = shape
    return {"left": 0, "right": 1, "std": int(rows > columns), "reverse_std": int(rows < columns)}[proj_type]


def within_16(shape: Shape) -> int:
    """Of a weight as a matrix, at most 16 times the longer side; nothing for vectors."""
    return min(16, *matrix_view(shape)) * max(matrix_view(shape)) if len(shape) > 1 else 0


def basis_of_16(shape: Shape) -> int:
    """Of a weight as a matrix, at most 16 times the shorter side; nothing for vectors."""
    return min(16, *matrix_view(shape)) * min(matrix_view(shape)) if len(shape) > 1 else 0


def larger_side(shape: Shape) -> int:
    """One number for each row of a matrix, or for each column of a wide one (2 dimensions and more)."""
    return max(shape[0], math.prod(shape[1:])) if len(shape) > 1 else 0


def columns_squared(shape: Shape) -> int:
    """A square matrix of as many rows as the matrix has columns (2 dimensions and more)."""
    return math.prod(shape[1:]) ** 2 if len(shape) > 1 else 0


def alice_view(shape: Shape) -> Shape:
    """Rows and columns of any parameter: dimension 0, and all others.

    Example:
        >>> alice_view((4, 2, 3)), alice_view((4,)), alice_view(())
        ((4, 6), (4, 1), (1, 1))
    """
    return (math.prod(shape[:1]), math.prod(shape[1:]))


def rows_by_256(shape: Shape) -> int:
    """At most 256 numbers for each row of the matrix, dimension 0 by all others."""
    n, _ = alice_view(shape)
    return n * min(256, n)


def square_of_256(shape: Shape) -> int:
    """A square matrix of as many rows as dimension 0 has, at most 256."""
    return min(256, *shape[:1]) ** 2 if shape else 1


def rows_within_256(shape: Shape) -> int:
    """As the parameter, of whose rows (dimension 0) there are at most 256."""
    n, columns = alice_view(shape)
    return min(256, n) * columns


def lra_factor(shape: Shape, rank: int | None) -> Shape:
    """All elements by the rank of an approximation, by default log2 of their number.

    Example:
        >>> lra_factor((6, 4), None), lra_factor((6, 4), 2), lra_factor((), None)
        ((24, 5), (24, 2), (1, 1))
    """
    n = math.prod(shape)
    return n, max(1, round(math.log2(max(n, 1)))) if rank is None else rank


def lra_size(shape: Shape) -> int:
    """Such a factor of the default rank."""
    return math.prod(lra_factor(shape, None))
