"""FlashOptim's storage of moments: eight bits an element, and a scale in float16 for 32 of them.

Codes have the parameter's shape and a last dimension of 1 besides, scales that of :func:`scales_shape`, so that neither
is taken for a number per element. Elements are taken flat; the last 32 may be fewer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from optim_core.rules import stacked

#: Elements that share a scale.
GROUP = 32


def codes_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of codes for a parameter's shape.

    Example:
        >>> codes_shape((4, 10))
        (4, 10, 1)
    """
    return (*shape, 1)


def scales_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of scales for a parameter's shape.

    Example:
        >>> scales_shape((4, 10))
        (2, 1, 1)
    """
    return (-(-math.prod(shape) // GROUP), *(1 for _ in shape))


def _grouped(x: Tensor) -> Tensor:
    """Each tensor of a stack in groups, with zeros at the end."""
    flat = x.reshape(len(x), -1)
    return pad(flat, (0, -flat.shape[1] % GROUP)).view(len(x), -1, GROUP)


def _like(groups: Tensor, codes: Tensor) -> Tensor:
    """The elements of groups, without the zeros at the end, in the shape of a stack of codes."""
    return groups.reshape(len(codes), -1)[:, : codes[0].numel()].reshape(codes.shape)


def _coded(x: Tensor, companded: Tensor, scale: Tensor, of_type: torch.dtype) -> tuple[Tensor, Tensor]:
    codes = _like(companded, x.unsqueeze(-1)).to(of_type)
    # what float16 cannot hold would be infinite, and 0 times that not a number
    limited = scale.clamp(max=torch.finfo(torch.float16).max).half()
    return codes, limited.view(len(x), -1, *(1 for _ in x.shape[1:]))


def _scaled(groups: Tensor) -> tuple[Tensor, Tensor]:
    """Groups divided by their largest magnitude, and that."""
    scale = groups.abs().amax(dim=2, keepdim=True).clamp(min=1e-12)
    return groups / scale, scale


@stacked("own", "own")
def momentum_codes(m: Tensor) -> tuple[Tensor, Tensor]:
    """Codes between -127 and 127, closer where m is small: 127 y, y = 2 x / (1 + |x|), x = m / scale; and scales.

    Example:
        >>> codes, scales = momentum_codes(torch.tensor([[1.0, 0.5, 0.0, -1.0]]))
        >>> codes.flatten().tolist(), scales.flatten().tolist()
        ([127, 85, 0, -127], [1.0])
    """
    x, scale = _scaled(_grouped(m))
    return _coded(m, (127 * (2 * x / (1 + x.abs())) + 0.5).floor(), scale, torch.int8)


@stacked("element")
def momentum(codes: Tensor, scales: Tensor, like: Tensor) -> Tensor:
    """What :func:`momentum_codes` has stored, in the type of a stack of tensors of the parameter's shape."""
    y = _grouped(codes).to(like.dtype) / 127
    x = y / (2 - y.abs()) * scales.reshape(len(scales), -1, 1).to(like.dtype)
    return _like(x, codes).squeeze(-1)


@stacked("own", "own")
def variance_codes(v: Tensor) -> tuple[Tensor, Tensor]:
    """Codes between 0 and 255 for the root of v, in equal steps, and scales.

    Example:
        >>> codes, scales = variance_codes(torch.tensor([[4.0, 1.0, 0.0]]))
        >>> codes.flatten().tolist(), scales.flatten().tolist()
        ([255, 128, 0], [2.0])
    """
    x, scale = _scaled(_grouped(v.sqrt()))
    return _coded(v, (255 * x + 0.5).floor(), scale, torch.uint8)


@stacked("element")
def variance(codes: Tensor, scales: Tensor, like: Tensor) -> Tensor:
    """What :func:`variance_codes` has stored, in the type of a stack of tensors of the parameter's shape."""
    x = _grouped(codes).to(like.dtype) / 255 * scales.reshape(len(scales), -1, 1).to(like.dtype)
    return _like(x.square(), codes).squeeze(-1)
