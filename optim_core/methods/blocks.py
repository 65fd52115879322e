"""Blocks: parts of a parameter that a method treats as matrices of their own.

The option ``blocks`` of a parameter group says how its parameters are cut, as words that are done in turn:

=================  ================================================================================
``batch``          the last two axes are matrices, those before them count: experts
``flat``           a matrix of dimension 0 by all the rest; a convolution
``rows/4``         4 equal blocks of rows: the heads of a projection, of a fused Q, K and V all heads
``rows:6+4+2``     blocks of 6, 4 and 2 rows: a fused gate and up projection, Q, K and V of several sizes
``columns/4``      4 equal blocks of columns: the heads of an output projection
``columns:6+4``    blocks of 6 and 4 columns
=================  ================================================================================

Rows and columns of more than two dimensions are those of ``flat``, unless ``batch`` comes first. Every block is a
parameter to the rule, with states of its own; states in the parameter's shape are stored as one tensor of that shape,
others as the blocks' tensors one behind the other. Parameters of fewer than two dimensions stay whole.

Example:
    >>> import torch
    >>> [tuple(block.of(torch.zeros(6, 4)).shape) for block in blocks_of("rows:4+2 columns/2", (6, 4))]
    [(4, 2), (4, 2), (2, 2), (2, 2)]
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any

from torch import Tensor

from optim_core.errors import InvalidOption, UnsupportedParameter
from optim_core.methods.declarations import argument, hyper

Shape = tuple[int, ...]

_WORD = re.compile(r"(batch|flat)|(rows|columns)(?:/([1-9]\d*)|:([1-9]\d*(?:\+[1-9]\d*)*))")
_WORDS = "'batch', 'flat', 'rows/4' (equal blocks), 'rows:6+4+2' (blocks of so many rows), and so for columns"


def in_blocks() -> Any:
    """Declare the option ``blocks`` of a method that works on matrices.

    Example:
        >>> blocks: str | None = in_blocks()
    """
    doc = "what matrices are made of its parameters, such as 'rows/4' or 'batch'; None: each is one"
    return argument(default=hyper(None, doc, examples=["columns/2", "rows:2+1"]), kw_only=True)


@dataclass(frozen=True)
class Block:
    """A part of a parameter.

    Attributes:
        cuts: what is done in turn: views of other shapes, indices of dimension 0, (axis, start, length).
        shape: its shape.
    """

    cuts: tuple[Any, ...]
    shape: Shape

    def of(self, x: Tensor) -> Tensor:
        """The part of a tensor of the parameter's shape, in its memory.

        Raises:
            UnsupportedParameter: the tensor's layout has no such view.
        """
        try:
            return reduce(_cut, self.cuts, x)
        except RuntimeError:
            raise UnsupportedParameter(
                f"a parameter of shape {tuple(x.shape)} and strides {x.stride()} has no blocks as views of its memory: "
                "make it contiguous, p.data = p.data.contiguous(), or leave out blocks"
            ) from None


def _cut(x: Tensor, cut: Any) -> Tensor:
    if cut == "flat":
        return x.view(x.shape[0], -1)
    return x[cut] if isinstance(cut, int) else x.narrow(*cut)


@lru_cache(maxsize=4096)
def blocks_of(text: str, shape: Shape) -> tuple[Block, ...]:
    """The blocks of a parameter of two dimensions or more.

    Raises:
        InvalidOption: the text is not understood, or does not fit the shape.
    """
    blocks = [Block((), shape)]
    for word in text.split():
        blocks = [part for block in blocks for part in _parts(block, word, text, shape)]
    return tuple(blocks)


def _parts(block: Block, word: str, text: str, whole: Shape) -> Iterator[Block]:
    found = _WORD.fullmatch(word)
    if found is None:
        raise InvalidOption(f"blocks={text!r}: {word!r} is not understood; there are {_WORDS}")
    if found[1] == "batch":
        counts = math.prod(block.shape[:-2])
        yield from (_indexed(block, k) for k in range(counts))
        return
    if len(block.shape) > 2:
        block = Block((*block.cuts, "flat"), (block.shape[0], math.prod(block.shape[1:])))
    if found[1] == "flat":
        yield block
        return
    axis = 0 if found[2] == "rows" else 1
    there = block.shape[axis]
    lengths = [there // int(found[3])] * int(found[3]) if found[3] else [int(n) for n in found[4].split("+")]
    if sum(lengths) != there:
        raise InvalidOption(
            f"blocks={text!r} does not fit a parameter of shape {whole}: {word} makes {sum(lengths)} of {there} "
            f"{found[2]}; put parameters with other blocks into a group of their own"
        )
    start = 0
    for length in lengths:
        part = (length, block.shape[1]) if axis == 0 else (block.shape[0], length)
        yield Block((*block.cuts, (axis, start, length)), part)
        start += length


def _indexed(block: Block, k: int) -> Block:
    """The k-th matrix over the last two axes."""
    cuts: list[int] = []
    for n in reversed(block.shape[:-2]):
        k, at = divmod(k, n)
        cuts.insert(0, at)
    return Block((*block.cuts, *cuts), block.shape[-2:])


def blocks_in(group: Mapping[str, Any], shape: Sequence[int]) -> tuple[Block, ...] | None:
    """The blocks of a parameter of a group, or None if it is whole."""
    text = group.get("blocks")
    return None if text is None or len(shape) < 2 or not math.prod(shape) else blocks_of(text, tuple(shape))
