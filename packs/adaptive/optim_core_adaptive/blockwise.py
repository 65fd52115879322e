"""Blockwise storage of states: codes of eight or four bits for the elements, and a scale for each block of them.

Codes and scales have a dimension more than the parameter, so that neither is taken for a number per element. Blocks are
consecutive elements of the flat tensor; the last may be shorter.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

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


def _nearest(x: Tensor, entries: Tensor) -> Tensor:
    """The number of the nearest entry; of two that are as near, the greater."""
    low = (torch.searchsorted(entries, x, right=True) - 1).clamp(0, len(entries) - 2)
    a, b = entries[low], entries[low + 1]
    return low + ((x - a) >= (b - a) / 2)


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
        y = blocks / scale
        codes = _nearest(y, torch.tensor(book(bits, signed=signed), dtype=y.dtype, device=y.device)).to(torch.uint8)
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
        x = torch.tensor(book(bits, signed=signed), dtype=like.dtype, device=like.device)[flat.long()]
    x = _blocks(x, block_size) * scales.reshape(len(scales), -1, 1).to(like.dtype)
    return x.reshape(len(x), -1)[:, : like[0].numel()].reshape(like.shape)
