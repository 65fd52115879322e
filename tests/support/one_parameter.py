"""One parameter of three elements, its loss, and the path that an optimizer takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

CURVATURES = (0.3, 1.1, 2.0)


def start() -> Parameter:
    """The parameter at its first values."""
    return Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))


def loss(p: Tensor) -> Tensor:
    """A bowl, steeper far out."""
    return 0.5 * (p.new_tensor(CURVATURES) * p.square()).sum() + 0.05 * (p**4).sum()


def gradient(x: Tensor) -> Tensor:
    """That of the loss."""
    return x.new_tensor(CURVATURES) * x + 0.2 * x**3


def path(optimizer: Any, p: Parameter, steps: int = 6) -> list[Tensor]:
    """Where each of the next steps leads."""
    points = []
    for _ in range(steps):
        optimizer.minimize(lambda: loss(p))
        points.append(p.detach().clone())
    return points


def full(optimizer: Any, p: Parameter) -> Callable[[], Tensor]:
    """A closure for step(), which keeps the gradients' memory."""

    def evaluated() -> Tensor:
        optimizer.zero_grad(set_to_none=False)
        value = loss(p)
        value.backward()
        return value

    return evaluated
