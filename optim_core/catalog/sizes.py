"""Sizes of states: how many elements a state has for a parameter of a given shape.

A size is a key of :data:`SIZES`; several of it (``"3 element"``); or ``"module:function"``, a function of the shape.
One that is not stored in float32 says so at its end: ``"element as uint8"``.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import TypeAlias

from optim_core.catalog.strangers import contained, output_aside
from optim_core.catalog.targets import import_target, is_target
from optim_core.errors import PackBroken, SpecError
from optim_core.text import one_line

Shape: TypeAlias = tuple[int, ...]

#: Bytes of an element by the type in which a state may be stored.
STORED: Mapping[str, int] = {"int8": 1, "uint8": 1, "float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}

#: The type of states of which nothing else is said.
_USUAL = "float32"

_MULTIPLE = re.compile(r"(?:([1-9]\d*) )?([a-z0-9_]+)")


@dataclass(frozen=True)
class Size:
    """One size.

    Attributes:
        words: for people.
        elements: the number of elements for a parameter of a shape.
    """

    words: str
    elements: Callable[[Shape], int]


def _from_2d(elements: Callable[[Shape], int]) -> Callable[[Shape], int]:
    return lambda shape: elements(shape) if len(shape) >= 2 else 0


def _squares(shape: Shape) -> int:
    return sum(d * d for d in shape)


SIZES: Mapping[str, Size] = {
    "element": Size("as the parameter", math.prod),
    "row": Size("one number for each index of dimension 0", lambda shape: shape[0] if shape else 1),
    "tensor": Size("one number per parameter", lambda shape: 1),
    "whole": Size("one number for the model", lambda shape: 0),
    "axes": Size("a d x d matrix for each axis of length d", _squares),
    "axis_vectors": Size("d numbers for each axis of length d", lambda shape: sum(shape) if shape else 1),
    "all_but_last": Size(
        "without the last dimension (2 dimensions and more)",
        _from_2d(lambda shape: math.prod(shape[:-1])),
    ),
    "all_but_second_last": Size(
        "without the last but one dimension (2 dimensions and more)",
        _from_2d(lambda shape: math.prod((*shape[:-2], shape[-1]))),
    ),
    "element_below_2d": Size(
        "as the parameter (fewer than 2 dimensions)",
        lambda shape: 0 if len(shape) >= 2 else math.prod(shape),
    ),
    "element_from_2d": Size("as the parameter (2 dimensions and more)", _from_2d(math.prod)),
    "row_from_2d": Size(
        "one number for each index of dimension 0 (2 dimensions and more)", _from_2d(lambda shape: shape[0])
    ),
    "tensor_from_2d": Size("one number per parameter (2 dimensions and more)", _from_2d(lambda shape: 1)),
    "axes_from_2d": Size("a d x d matrix for each axis of length d (2 dimensions and more)", _from_2d(_squares)),
}


@cache
def is_size(text: str) -> bool:
    """Return whether a text is a size; functions are not imported.

    Example:
        >>> [is_size(text) for text in ("row", "3 element", "acme.sizes:blocks as uint8", "3 cubes", "row as bits")]
        [True, True, True, False, False]
    """
    text, stored = _apart(text)
    if stored not in STORED:
        return False
    multiple = _MULTIPLE.fullmatch(text)
    return is_target(text) or (multiple is not None and multiple[2] in SIZES)


def element_count(size: str, shape: Shape) -> int:
    """The number of elements of a state for a parameter of a shape; 0 for ``whole``, which belongs to no parameter.

    Raises:
        SpecError: there is no such size.

    Example:
        >>> [element_count(size, (4, 3)) for size in ("element", "2 element", "row", "axes", "all_but_last")]
        [12, 24, 4, 25, 4]
    """
    if not is_size(size):
        raise SpecError(f"{size!r} is not a size of a state: {', '.join(SIZES)}")
    size, _ = _apart(size)
    if is_target(size):
        with output_aside(), contained(partial(_unknown, size)):
            return int(import_target(size)(shape))
    count, _, name = size.rpartition(" ")
    return int(count or 1) * SIZES[name].elements(shape)


def element_bytes(size: str) -> int:
    """The bytes of an element of a state.

    Example:
        >>> element_bytes("element"), element_bytes("element as uint8")
        (4, 1)
    """
    return STORED[_apart(size)[1]]


def size_text(size: str) -> str:
    """A size in words; of a function, the first line of its docstring.

    Example:
        >>> size_text("3 row"), size_text("tensor as uint8")
        ('3 times: one number for each index of dimension 0', 'one number per parameter, in uint8')
    """
    size, stored = _apart(size)
    words = _words(size)
    return words if stored == _USUAL else f"{words.removesuffix('.')}, in {stored}"


def _words(size: str) -> str:
    if is_target(size):
        with output_aside(), contained(partial(_unknown, size)):
            return one_line((inspect.getdoc(import_target(size)) or size).partition("\n")[0])
    count, _, name = size.rpartition(" ")
    return f"{count} times: {SIZES[name].words}" if count else SIZES[name].words


def _apart(size: str) -> tuple[str, str]:
    """What a size says of elements, and their type."""
    elements, _, stored = size.partition(" as ")
    return elements, stored or _USUAL


def _unknown(size: str, reason: str) -> PackBroken:
    return PackBroken(f"the size {size} of a state is unknown: {reason}")
