"""Wrappers that evaluate the loss twice a step: a loss in two parts, and ways to drive them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

import optim_core
from support.small import named

STEPS = 13


def batches(params: list[Parameter], t: int) -> list[Tensor]:
    """The losses of the two halves of a batch."""
    w, b = params
    x = torch.sin(torch.arange(32, dtype=torch.float64) + t).reshape(8, 4).to(w.dtype)
    return [((part @ w.T + b).tanh() - part[:, :3]).square().sum() / 24 for part in x.split(4)]


def loss(params: list[Parameter], t: int) -> Tensor:
    first, second = batches(params, t)
    return first + second


def wrapped(name: str, base: Any, **options: Any) -> Any:
    return optim_core.get_wrapper(name)(base, **options)


def period(name: str, steps: int) -> dict[str, int]:
    """Options of a wrapper that evaluates twice in some steps only: how often that is."""
    return {"k": steps} if "k" in optim_core.get_wrapper(name).hypers else {}


def sgd(params: list[Parameter], lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD(named(params), lr=lr, momentum=0.9)


def minimized(optimizer: Any, params: list[Parameter], t: int, loss: Callable[..., Tensor] = loss) -> None:
    optimizer.minimize(lambda: loss(params, t))


def by_hand(optimizer: Any, params: list[Parameter], t: int, loss: Callable[..., Tensor] = loss) -> None:
    optimizer.zero_grad()
    loss(params, t).backward()
    if optimizer.first_step():
        loss(params, t).backward()
    optimizer.second_step()


def scaled(optimizer: Any, params: list[Parameter], t: int) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    optimizer.zero_grad()
    scaler.scale(loss(params, t)).backward()
    scaler.unscale_(optimizer)
    optimizer.first_step()
    scaler.update()
    scaler.scale(loss(params, t)).backward()
    scaler.step(optimizer)
    scaler.update()
