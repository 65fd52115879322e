"""GradScaler leaves gradients scaled: the rule divides, in every engine, and a step with inf or nan is left out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

import optim_core
from optim_core.registry import load
from optim_core.specs import OptimizerSpec

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")

WAYS = [{"engine": "eager"}, {"foreach": True}, {"foreach": False}, {"engine": "native"}]
NAMES = [
    spec.name
    for spec in optim_core.find(kind="optimizer")
    if isinstance(spec, OptimizerSpec) and not spec.needs and load(spec).method.rule is not None
]


def weights() -> list[Parameter]:
    k = torch.arange(12, dtype=torch.float64)
    return [Parameter(torch.sin(k).reshape(3, 4)), Parameter(torch.cos(k[:5]))]


def loss(params: list[Parameter], n: int) -> Tensor:
    return torch.stack([((p - 0.1 * n).square() + 0.1 * p**4).sum().float() for p in params]).sum()


def scaled_step(optimizer: Any, scaler: torch.amp.GradScaler, value: Tensor) -> None:
    optimizer.zero_grad()
    scaler.scale(value).backward()
    scaler.step(optimizer)
    scaler.update()


def close(a: list[Any], b: list[Any]) -> None:
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_scaled_gradients_give_the_same_steps(name: str, way: dict[str, Any]) -> None:
    plain, scaled = weights(), weights()
    first, second = (optim_core.get(name)(params, **way) for params in (plain, scaled))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12, growth_interval=2)  # the scale changes on the way
    for n in range(5):
        first.minimize(lambda n=n: loss(plain, n))
        scaled_step(second, scaler, loss(scaled, n))
        assert scaled[0].grad is not None
    close(plain, scaled)


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_a_step_with_an_overflow_changes_nothing(way: dict[str, Any], bad: float) -> None:
    params = weights()
    optimizer = optim_core.get("adamw")(params, **way)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scaled_step(optimizer, scaler, loss(params, 0))
    before = [p.detach().clone() for p in params]
    state = {p: {name: x.clone() for name, x in optimizer.state[p].items() if isinstance(x, Tensor)} for p in params}
    scaled_step(optimizer, scaler, bad * loss(params, 1))
    assert scaler.get_scale() == 4.0
    assert all(torch.equal(x, p) for x, p in zip(before, params, strict=True))
    for p in params:
        assert optimizer.state[p]["step"] == 1
        assert all(torch.equal(x, optimizer.state[p][name]) for name, x in state[p].items())
    scaled_step(optimizer, scaler, loss(params, 2))
    assert optimizer.state[params[0]]["step"] == 2


def test_gradients_are_read_as_they_are() -> None:
    params = weights()
    optimizer = optim_core.get("lion")(params)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(loss(params, 0)).backward()
    before = [p.grad.clone() for p in params]
    scaler.step(optimizer)
    assert all(torch.equal(x, p.grad) for x, p in zip(before, params, strict=True))


def test_clipping_sees_unscaled_gradients_in_both_ways() -> None:
    ends = []
    for by_hand in (False, True):
        params = weights()
        optimizer = optim_core.create_optimizer(
            params, "sgd", lr=0.1, wrappers=[] if by_hand else [("clip", {"max_norm": 0.5})]
        )
        scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
        for n in range(3):
            optimizer.zero_grad()
            scaler.scale(loss(params, n)).backward()
            if by_hand:  # torch's recipe
                scaler.unscale_(optimizer)
                torch.nn.utils.clip_grad_norm_(params, 0.5)
            scaler.step(optimizer)
            scaler.update()
        ends.append(params)
    close(*ends)
