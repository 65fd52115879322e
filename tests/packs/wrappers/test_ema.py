"""The running average of the weights: composed or around, the same; exchanged exactly; saved."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from support.small import CPU_ENGINES, assert_close, copies, equal, loss, parameters, reloaded, train
from torch import Tensor
from torch.nn import Parameter

import optim_core
from optim_core.errors import NotTraining


def averages(optimizer: Any, params: list[Parameter]) -> list[Tensor]:
    with optimizer.averaged():
        return copies(params)


def ema(base: Any, **options: Any) -> Any:
    return optim_core.get_wrapper("ema")(base, **{"decay": 0.8} | options)


@pytest.mark.parametrize("way", CPU_ENGINES, ids=str)
@pytest.mark.parametrize("name", ["sgd", "adamw", "lamb", "novograd", "prodigy", "adamp"])
def test_composed_is_what_plain_averaging_gives(name: str, way: dict[str, Any]) -> None:
    options = {"decay": 0.9, "use_warmup": True, "update_after_step": 1}
    params, others = parameters(), parameters()
    optimizer = ema(optim_core.get(name)(params, **way), **options)
    plain = optim_core.get(name)(others, **way)
    expected: list[Tensor] = []
    for n in range(6):
        optimizer.minimize(lambda: loss(params))
        plain.minimize(lambda: loss(others))
        k = max(0, n - 1)
        decay = min(1 - (1 + k) ** (-2 / 3), 0.9) if k else 0.0
        now = copies(others)
        expected = [p + decay * (e - p) for p, e in zip(now, expected or now, strict=True)]
    assert_close(params, others)
    assert_close(averages(optimizer, params), expected)


def test_around_foreign_optimizers_and_over_lookahead() -> None:
    for make in (
        lambda ps: torch.optim.AdamW(ps, lr=0.1),
        lambda ps: optim_core.create_optimizer(ps, "adamw", lr=0.1, use_lookahead={"k": 2}),
        lambda ps: optim_core.get("shampoo")(ps, lr=0.1),
    ):
        params, others = parameters(), parameters()
        optimizer, plain = ema(make(params)), make(others)
        expected: list[Tensor] = []
        for n in range(5):
            optimizer.minimize(lambda params=params: loss(params))
            optim_core.minimize(plain, lambda others=others: loss(others))
            now = copies(others)
            expected = [p + (0.8 if n else 0.0) * (e - p) for p, e in zip(now, expected or now, strict=True)]
        assert_close(averages(optimizer, params), expected)


def test_weights_without_gradients_are_followed_too() -> None:
    params = parameters()
    optimizer = ema(optim_core.get("sgd")(params, lr=0.1))
    train(optimizer, 3)
    before = averages(optimizer, params)
    optimizer.minimize(lambda: loss(params[:1]))
    assert_close(averages(optimizer, params)[1:], [0.8 * before[1] + 0.2 * params[1].detach()])


def test_training_goes_on_after_evaluating() -> None:
    params, others = parameters(), parameters()
    optimizer, undisturbed = ema(optim_core.get("adamw")(params)), ema(optim_core.get("adamw")(others))
    for n in range(6):
        if n == 3:
            with pytest.raises(RuntimeError, match="from inside"), optimizer.averaged():  # noqa: PT012 - a body that fails
                assert not torch.equal(params[0], others[0])
                raise RuntimeError("from inside")
            optimizer.eval()  # minimize goes back by itself
        optimizer.minimize(lambda: loss(params))
        undisturbed.minimize(lambda: loss(others))
        assert equal(params, others)
    loss(params).backward()
    optimizer.eval()
    kept = copies(params)
    with pytest.raises(NotTraining, match=r"EMA: step\(\) after eval\(\).*optimizer\.train\(\).*optimizer\.minimize"):
        optimizer.step()
    assert equal(params, kept)


@pytest.mark.parametrize("evaluating", [False, True])
@pytest.mark.parametrize("name", ["adamw", "torch:adamw"])
def test_checkpoints_and_copies(name: str, evaluating: bool) -> None:
    params = parameters()
    optimizer = ema(optim_core.get(name)(params))
    train(optimizer, 3)
    if evaluating:
        optimizer.eval()
    others = [Parameter(p.detach().clone()) for p in params]
    resumed = ema(optim_core.get(name)(others))
    resumed.load_state_dict(reloaded(optimizer.state_dict()))
    third, twin = copy.deepcopy((params, optimizer))
    for which in (optimizer, resumed, twin):
        train(which, 3)
    for each, which in ((others, resumed), (third, twin)):
        assert equal(params, each)
        assert equal(averages(optimizer, params), averages(which, each))


def test_low_precision_is_averaged_in_float32() -> None:
    params = parameters(dtype=torch.bfloat16)
    optimizer = ema(optim_core.get("sgd")(params, lr=1e-2, rounding="kahan"), decay=0.999)
    train(optimizer, 3)
    assert optimizer.memory[params[0]]["ema"].dtype is torch.float32
    raw = copies(params)
    averages(optimizer, params)
    assert equal(raw, params)
