"""What checks work with: a few small parameters, losses of them, and comparisons."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

#: Longer than any phase in which a usual method may stand still (AdaShift's takes ten steps).
STEPS = 12
#: Every kind of shape.
SHAPES: dict[str, tuple[int, ...]] = {
    "0-d": (),
    "1-d": (5,),
    "one element": (1,),
    "empty": (0,),
    "empty matrix": (3, 0),
    "matrix": (3, 4),
    "column": (4, 1),
    "row": (1, 4),
    "3-d": (2, 3, 4),
    "convolution": (4, 2, 3, 3),
    "depthwise convolution": (4, 1, 3, 3),
    "5-d": (2, 2, 1, 3, 2),
}


def positive(shape: Sequence[int], i: int = 0, dtype: torch.dtype = torch.float64) -> Parameter:
    """A parameter whose elements are all above 0, so that the loss's gradient is nowhere zero at the start."""
    k = torch.arange(math.prod(shape), dtype=torch.float64)
    return Parameter((0.7 + 0.5 * torch.sin(1.7 * k + i)).reshape(tuple(shape)).to(dtype))


def some(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[Parameter]:
    """Parameters of these shapes; without any a matrix and a vector."""
    return [positive(shape, i, dtype) for i, shape in enumerate(shapes or ((3, 4), (5,)))]


def loss(params: Sequence[Tensor], t: int = 0) -> Tensor:
    """A smooth loss of batch t, with curvature everywhere and without interaction between elements."""
    return torch.stack([(0.5 * (p + 0.3 - 0.1 * t).square() + 0.05 * p**4).sum().float() for p in params]).sum()


def closure(
    params: Sequence[Tensor], t: int = 0, *, several: bool = False, noise: float = 0.0, coupling: float = 0.0
) -> Callable[[], Any]:
    """What ``minimize`` takes.

    Args:
        params: the parameters.
        t: the batch.
        several: for methods that make one gradient of several losses: three, of which two pull apart.
        noise: how much the loss depends on draws from torch's global stream, as with dropout.
        coupling: how much elements of one parameter interact: without it an estimate of the Hessian's diagonal from
            draws of signs is exact, whatever was drawn.
    """

    def evaluated() -> Any:
        drawn = [(torch.rand(p.shape, dtype=p.dtype) * p).sum().float() for p in params] if noise else []
        value = loss(params, t) + noise * sum(drawn)
        if coupling:
            value = value + coupling * sum(p.sum().float().square() for p in params)
        return [value, 0.5 * _apart(params, 2.0), 0.5 * _apart(params, -1.0 - t)] if several else value

    return evaluated


def _apart(params: Sequence[Tensor], aim: float) -> Tensor:
    """A loss that pulls elements away from the others' aim, one more than the other."""
    return torch.stack(
        [((p - aim).square() * (1 + 0.5 * torch.sin(aim * p.detach()))).sum().float() for p in params]
    ).sum()


def set_gradients(params: Iterable[Tensor], t: int, factor: float = 1.0) -> None:
    """Gradients of step t that belong to no loss."""
    for i, p in enumerate(params):
        k = torch.arange(p.numel(), dtype=torch.float64).reshape(p.shape)
        p.grad = torch.empty_like(p).copy_(factor * torch.cos(0.7 * k + i + t))


def copies(params: Iterable[Tensor]) -> list[Tensor]:
    """The values as they are now."""
    return [p.detach().clone() for p in params]


def equal(a: Iterable[Tensor], b: Iterable[Tensor]) -> bool:
    """Whether all are equal, to the last bit; nan equals nan."""
    return all(torch.equal(x, y) or torch.allclose(x, y, 0, 0, equal_nan=True) for x, y in zip(a, b, strict=True))


def close(a: Iterable[Tensor], b: Iterable[Tensor], tolerance: float | None = None) -> bool:
    """Whether each differs from its counterpart by no more than rounding, as a share of that one's largest element."""
    pairs = zip(a, b, strict=True)
    return all(deviation(x, y) <= (tolerance or (1e-9 if y.dtype is torch.float64 else 1e-4)) for x, y in pairs)


def deviation(x: Tensor, y: Tensor) -> float:
    """The largest difference, as a share of the second's largest element; infinite where one is not a number."""
    if not y.numel():
        return 0.0
    difference = float((x.detach() - y.detach()).abs().max())
    return math.inf if math.isnan(difference) else difference / max(float(y.detach().abs().max()), 1e-30)


def finite(params: Iterable[Tensor]) -> bool:
    """Whether no element is infinite or not a number."""
    return all(bool(p.isfinite().all()) for p in params)


def tensors(state: Any) -> list[Tensor]:
    """Every tensor in a state, whatever it is made of."""
    if isinstance(state, Tensor):
        return [state]
    inside = state.values() if isinstance(state, dict) else state if isinstance(state, (list, tuple)) else ()
    return [t for x in inside for t in tensors(x)]


def reloaded(state: Any) -> Any:
    """A state as it comes back from a file."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)
