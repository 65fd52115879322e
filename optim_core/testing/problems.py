"""The problems on which the golden trajectories were measured; `tests/golden/README.md` describes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Parameter

Losses = Tensor | list[Tensor]


@dataclass(frozen=True)
class Problem:
    """Shapes of the parameters, and the loss (or losses) of batch t."""

    shapes: tuple[tuple[int, ...], ...]
    loss: Callable[[Sequence[Tensor], int], Losses]
    gain: bool = False  # the last parameter starts near 1
    squared: float = 0.0  # the frequency of a wave in the square of the flat index, so that matrices have full rank
    zero: tuple[int, ...] = ()  # parameters that start at 0
    names: tuple[str, ...] = ()  # of the parameters, for methods that go by them

    def parameters(self, dtype: torch.dtype = torch.float64) -> list[Parameter]:
        """Fresh parameters at their first values."""
        frequency, power = (self.squared, 2) if self.squared else (1.7, 1)
        values = [0.5 * wave(shape, frequency, i + 0.3, power) for i, shape in enumerate(self.shapes)]
        if self.gain:
            values[-1] = values[-1] + 1
        for i in self.zero:
            values[i] = 0 * values[i]
        return [Parameter(v.to(dtype)) for v in values]


def wave(shape: Sequence[int], frequency: float, phase: float, power: int = 1) -> Tensor:
    """sin(frequency*k^power + phase), k the flat index."""
    k = torch.arange(math.prod(shape), dtype=torch.float64) ** power
    return torch.sin(frequency * k + phase).reshape(tuple(shape))


# net: a small convolutional network ---------------------------------------------------------------------------
_NET = ((4, 2, 3, 3), (4,), (3, 16), (3,), (1,))


def _features(params: Sequence[Tensor], t: int) -> Tensor:
    conv, conv_bias, fc, fc_bias, _ = params
    x = wave((5, 2, 4, 4), 0.37, 0.9 * t).to(conv.dtype)
    return torch.tanh(F.conv2d(x, conv, conv_bias)).flatten(1) @ fc.T + fc_bias


def _target(params: Sequence[Tensor], t: int) -> Tensor:
    return wave((5, 3), 0.53, math.pi / 2 - 0.4 * t).to(params[0].dtype)  # a cosine


def _net(params: Sequence[Tensor], t: int) -> Tensor:
    return (params[4] * _features(params, t) - _target(params, t)).square().mean()


def _net_2tasks(params: Sequence[Tensor], t: int) -> list[Tensor]:
    o, y = params[4] * _features(params, t), _target(params, t)
    return [(o - y).square().mean(), (o + 0.5 * y).square().mean()]


def _net_2tasks_partly_shared(params: Sequence[Tensor], t: int) -> list[Tensor]:
    q, y = _features(params, t), _target(params, t)
    return [(params[4] * q - y).square().mean(), 0.7 * (q + 0.5 * y).square().mean()]


def _net_3tasks(params: Sequence[Tensor], t: int) -> list[Tensor]:
    o, y = params[4] * _features(params, t), _target(params, t)
    return [*_net_2tasks(params, t), (o - 0.3 * y.roll(1, dims=1) + 0.4).square().mean()]


# diag: a loss without interaction between elements ------------------------------------------------------------
def _curvature(p: Tensor, i: int) -> Tensor:
    return (1 + 0.5 * wave(p.shape, 1.0, i)).to(p.dtype)


def _diag(params: Sequence[Tensor], t: int) -> Tensor:
    parts = [
        (0.5 * _curvature(p, i) * (p - 0.1 * math.cos(t)).square() + 0.05 * p**4).sum() for i, p in enumerate(params)
    ]
    return torch.stack(parts).sum()


def _diag_3tasks_disjoint(params: Sequence[Tensor], t: int) -> list[Tensor]:
    def distance(i: int, aim: float) -> Tensor:
        return (0.5 * _curvature(params[i], i) * (params[i] - aim).square()).sum()

    return [distance(0, 0.3 * math.cos(t)), 0.8 * distance(0, -0.4), distance(1, 0.2)]


# lora: products of two factors, those of adapters -----------------------------------------------------------------
def _lora(params: Sequence[Tensor], t: int) -> Tensor:
    parts = []
    for j, (A, B) in enumerate(zip(params[::2], params[1::2], strict=True)):
        target = wave((B.shape[0], A.shape[1]), 0.53, math.pi / 2 - 0.4 * t + j, 2).to(A.dtype)  # a cosine
        parts.append((B @ A - target).square().mean())
    return torch.stack(parts).sum()


_DIAG = ((6, 4), (5,))
_LORA = ((2, 6), (5, 2), (3, 4), (7, 3))
_FACTORS = ("0.lora_A", "0.lora_B", "1.lora_A", "1.lora_B")

PROBLEMS: Mapping[str, Problem] = {
    "net": Problem(_NET, _net, gain=True),
    "net-2tasks": Problem(_NET, _net_2tasks, gain=True),
    "net-2tasks-partly-shared": Problem(_NET, _net_2tasks_partly_shared, gain=True),
    "net-3tasks": Problem(_NET, _net_3tasks, gain=True),
    "diag": Problem(_DIAG, _diag),
    "diag-3tasks-disjoint": Problem(_DIAG, _diag_3tasks_disjoint),
    "diag4b": Problem(((12, 1, 3, 3), (6, 4), (5,)), _diag),
    "diags": Problem(((4, 2, 3, 3), (4, 4), (9, 3), (5,)), _diag),
    "lora": Problem(_LORA, _lora, squared=0.9, names=_FACTORS),
    "lora0": Problem(_LORA, _lora, squared=0.9, zero=(1, 3), names=_FACTORS),
    "diagm": Problem(((12, 1, 3, 3), (6, 4), (4, 6), (5,)), _diag),
}


def problem_of(case: Mapping[str, Any]) -> Problem:
    """The problem of a golden case: its label begins with the problem's name, tasks included."""
    return PROBLEMS[max((name for name in PROBLEMS if case["case"].startswith(name)), key=len)]
