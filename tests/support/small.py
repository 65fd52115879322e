"""A model of two small parameters, its loss and its training; and how parameters are copied and compared."""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

import optim_core

NAMES = ("a.weight", "a.bias")
#: Every way in which a rule runs on a CPU.
CPU_ENGINES: list[dict[str, Any]] = [{"engine": "eager"}, {"foreach": True}, {"foreach": False}, {"engine": "native"}]


def parameters(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[Parameter]:
    """A matrix and a vector, or parameters of these shapes: sines, none of them near zero at its first element."""
    shapes = shapes or ((3, 4), (3,))
    numbers = [torch.arange(math.prod(shape), dtype=torch.float64).reshape(shape) for shape in shapes]
    return [Parameter(torch.sin(k + i + 0.5).to(dtype)) for i, k in enumerate(numbers)]


def named(params: Sequence[Parameter]) -> list[tuple[str, Parameter]]:
    """The same with the names of a layer's weight and bias, or its weight alone."""
    return list(zip(NAMES, params, strict=False))


def loss(params: Sequence[Tensor], t: int = 0) -> Tensor:
    """A smooth loss of batch t, with curvature everywhere and without interaction between elements."""
    return torch.stack([(0.5 * (p + 0.3 - 0.1 * t).square() + 0.05 * p**4).sum().float() for p in params]).sum()


def closure(params: Sequence[Tensor], t: int = 0) -> Callable[[], Tensor]:
    """What ``minimize`` takes."""
    return lambda: loss(params, t)


def train(optimizer: Any, steps: int = 1) -> None:
    """Steps on the first batch, of all parameters that the optimizer has."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for _ in range(steps):
        optim_core.minimize(optimizer, closure(params))


def scaled_step(optimizer: Any, scaler: torch.amp.GradScaler, value: Tensor) -> None:
    """A step by torch's recipe for GradScaler."""
    optimizer.zero_grad()
    scaler.scale(value).backward()
    scaler.step(optimizer)
    scaler.update()


# copies and comparisons ----------------------------------------------------------------------------------------
def copies(params: Iterable[Tensor]) -> list[Tensor]:
    """The values as they are now."""
    return [p.detach().clone() for p in params]


def equal(a: Iterable[Tensor], b: Iterable[Tensor]) -> bool:
    """Whether all are equal, to the last bit."""
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def finite(params: Iterable[Tensor]) -> bool:
    """Whether no element is infinite or not a number."""
    return all(bool(p.isfinite().all()) for p in params)


def assert_close(got: Iterable[Any], wanted: Iterable[Any], tolerance: float = 1e-12) -> None:
    """Each is close to its counterpart, as a share of it or of 1, whichever is larger."""
    for x, y in zip(got, wanted, strict=True):
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance, equal_nan=True)


def assert_same(got: Iterable[Tensor], wanted: Iterable[Tensor], tolerance: float = 1e-12) -> None:
    """Each differs from its counterpart by no more than a share of that one's largest element."""
    for x, y in zip(got, wanted, strict=True):
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance * float(y.abs().max()))


def reloaded(state: Any) -> Any:
    """A state as it comes back from a file."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def pickled(x: Any) -> Any:
    """A copy by way of pickle."""
    return pickle.loads(pickle.dumps(x))  # noqa: S301 - the test's own bytes
