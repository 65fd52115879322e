"""Optimizers on parameters of any shapes, with gradients that are set and not computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import Parameter


def parameters(dtype: torch.dtype = torch.float64, *shapes: tuple[int, ...]) -> list[Parameter]:
    """Random values, the same ones at every call; without shapes a few, of up to four dimensions."""
    shapes = shapes or ((), (1,), (7,), (3, 5), (4, 2, 3, 3), (1, 6), (6, 1))
    generator = torch.Generator().manual_seed(3)
    return [Parameter(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)) for shape in shapes]


def set_gradients(params: list[Any], n: int) -> None:
    """Those of step n."""
    for i, p in enumerate(params):
        k = torch.arange(p.numel(), dtype=torch.float64).reshape(p.shape)
        p.grad = torch.empty_like(p).copy_(torch.sin(0.7 * k + i + n))


def trained(make: Callable[[list[Any]], Any], params: list[Any], steps: int = 4) -> Any:
    """The optimizer that is made, after some steps."""
    optimizer = make(params)
    for n in range(steps):
        set_gradients(params, n)
        optimizer.step()
    return optimizer


def engine_of(optimizer: Any) -> set[str]:
    """The engines that have run its last step."""
    return {row.engine.partition(":")[0] for row in optimizer.explain()}
