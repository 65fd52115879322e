"""Blockwise storage of states: codes of eight or four bits for the elements, and a scale for each block of them.

Codes and scales have a dimension more than the parameter, so that neither is taken for a number per element. Blocks are
consecutive elements of the flat tensor; the last may be shorter.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from optim_core.rules import stacked

#: The largest number of float8_e4m3fn.
LARGEST = 448.0


def codes_shape(shape: Sequence[int], bits: str) -> tuple[int, ...]:
    """The shape of codes for a parameter's shape: a byte for an element, or for two with four bits.

    Example:
        >>> codes_shape((3, 5), "8"), codes_shape((3, 5), "4")
        ((3, 5, 1), (8, 1, 1))
    """
    return (-(-math.prod(shape) // 2), *(1 for _ in shape)) if bits == "4" else (*shape, 1)


def scales_shape(shape: Sequence[int], block_size: int) -> tuple[int, ...]:
    """The shape of scales for a parameter's shape.

    Example:
        >>> scales_shape((3, 5), 4)
        (4, 1, 1)
    """
    return (-(-math.prod(shape) // block_size), *(1 for _ in shape))


@functools.cache
def book(bits: str, *, signed: bool) -> tuple[float, ...]:
    """What codes stand for, in order, as shares of the scale.

    A decade i below 1 has 2^i numbers of each sign, or 2^(i+1) positive ones, in equal steps: the midpoints of as many
    parts of 0.1 to 1. 0 and 1 are there besides. Four unsigned bits have 1/16, 2/16, ..., 1 instead.

    Example:
        >>> [round(x, 4) for x in book("4", signed=True)][8:]
        [0.0055, 0.0325, 0.0775, 0.2125, 0.4375, 0.6625, 0.8875, 1.0]
        >>> len(book("8", signed=True)), len(book("8", signed=False)), book("4", signed=False)[0]
        (256, 256, 0.0625)
    """
    if bits == "4" and not signed:
        return tuple(k / 16 for k in range(1, 17))
    decades = 3 if bits == "4" else 7
    found = [torch.tensor([0.0, 1.0])]
    for i in range(decades):
        edges = torch.linspace(0.1, 1, 2 ** (i if signed else i + 1) + 1)
        x = (edges[:-1] + edges[1:]) / 2 * 10.0 ** (i - decades + 1)
        found += [x, -x] if signed else [x]
    return tuple(torch.cat(found).sort().values.tolist())


def _blocks(x: Tensor, size: int) -> Tensor:
    """Each tensor of a stack in blocks, with zeros at the end."""
    flat = x.reshape(len(x), -1)
    return pad(flat, (0, -flat.shape[1] % size)).view(len(x), -1, size)


class _Search(NamedTuple):
    """For the nearest entry of a codebook to a number in float32, without a search for each number.

    Attributes:
        borders: the middle between each entry and the next, and infinity after the last.
        first: by the upper half of the bits of a number, and the next one, the entry nearest to the least such number.
            So few numbers share those bits that no two borders are among them.
    """

    borders: Tensor
    first: Tensor


#: Bits that numbers may differ in to have one place in the table: 8 of those of float32 behind the point remain.
_SHIFT = 15


@functools.cache
def _search(bits: str, signed: bool, device: torch.device) -> _Search:
    entries = torch.tensor(book(bits, signed=signed))
    borders = (entries[1:] + entries[:-1]) / 2
    places = torch.arange(1 << (32 - _SHIFT), dtype=torch.int64) << _SHIFT
    # of negative numbers the least are those with the greatest bits
    places += torch.where(places >= 1 << 31, (1 << _SHIFT) - 1 - (1 << 32), 0)
    first = torch.searchsorted(borders, places.to(torch.int32).view(torch.float32), right=True, out_int32=True)
    return _Search(torch.cat([borders, torch.tensor([torch.inf])]).to(device), first.to(device))


def nearest(y: Tensor, *, bits: str, signed: bool) -> Tensor:
    """The codes of the entries nearest to numbers; of two that are as near, the greater.

    Example:
        >>> nearest(torch.tensor([-0.9, 0.0, 0.0625, 0.95]), bits="4", signed=True)
        tensor([ 0,  7, 10, 15], dtype=torch.uint8)
    """
    search = _search(bits, signed, y.device)
    if y.dtype is not torch.float32:
        return torch.searchsorted(search.borders[:-1].to(y.dtype), y, right=True, out_int32=True).to(torch.uint8)
    y = y.contiguous()
    places = (y.view(torch.int32) >> _SHIFT) & ((1 << (32 - _SHIFT)) - 1)
    low = search.first.index_select(0, places.flatten())
    return (low + (y.flatten() >= search.borders.index_select(0, low))).to(torch.uint8).view(y.shape)


@stacked("own", "own")
def coded(x: Tensor, *, bits: str, block_size: int, signed: bool) -> tuple[Tensor, Tensor]:
    """The codes of a stack of tensors, and their scales: the largest magnitude of each block.

    With "fp8" codes are the bytes of float8_e4m3fn, and the scale is such that the largest magnitude becomes 448.

    Example:
        >>> codes, scales = coded(torch.tensor([[0.5, -2.0, 0.0]]), bits="8", block_size=256, signed=True)
        >>> codes.flatten().tolist(), scales.flatten().tolist()
        ([201, 0, 127], [2.0])
    """
    blocks = _blocks(x, block_size)
    scale = blocks.abs().amax(dim=2, keepdim=True).clamp(min=1e-12)
    if bits == "fp8":
        scale = scale / LARGEST
        codes = (blocks / scale).float().to(torch.float8_e4m3fn).view(torch.uint8)
    else:
        codes = nearest(blocks / scale, bits=bits, signed=signed)
    flat = codes.reshape(len(x), -1)[:, : x[0].numel()]
    if bits == "4":
        pairs = _blocks(flat, 2)
        flat = pairs[..., 0] * 16 + pairs[..., 1]
    shape = codes_shape(x.shape[1:], bits)
    return flat.reshape(len(x), *shape), scale.view(len(x), *scales_shape(x.shape[1:], block_size))


@stacked("element")
def decoded(codes: Tensor, scales: Tensor, like: Tensor, *, bits: str, block_size: int, signed: bool) -> Tensor:
    """What :func:`coded` has stored, in type and shape of a stack of tensors like the parameter."""
    flat = codes.reshape(len(codes), -1)
    if bits == "4":
        flat = torch.stack([flat // 16, flat % 16], dim=2).reshape(len(flat), -1)[:, : like[0].numel()]
    if bits == "fp8":
        x = flat.view(torch.float8_e4m3fn).to(like.dtype)
    else:
        entries = torch.tensor(book(bits, signed=signed), dtype=like.dtype, device=like.device)
        x = entries.index_select(0, flat.flatten().int()).view(flat.shape)
    x = _blocks(x, block_size) * scales.reshape(len(scales), -1, 1).to(like.dtype)
    return x.reshape(len(x), -1)[:, : like[0].numel()].reshape(like.shape)
