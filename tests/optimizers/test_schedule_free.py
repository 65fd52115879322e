"""Methods that train at one point and are evaluated at another: when the parameters hold which."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.small import assert_close, closure, copies, equal, parameters, reloaded, train
from support.wrappers import around, base_only_specs
from torch import Tensor
from torch.nn import Parameter

import optim_core
from optim_core.errors import NotTraining

SPECS = optim_core.find(kind="optimizer", needs="train_eval_mode")


@pytest.fixture(params=SPECS, ids=lambda spec: spec.name)
def cls(request: pytest.FixtureRequest) -> Any:
    return optim_core.get(request.param.name)


def test_begins_in_training_and_says_so(cls: Any) -> None:
    optimizer = cls(parameters())
    assert optimizer.training
    assert "training: True" in repr(optimizer)
    assert "training=True" in str(optimizer.explain())
    optimizer.eval()
    assert not optimizer.training
    assert "training=False" in str(optimizer.explain())


def test_modes_without_steps_move_nothing(cls: Any) -> None:
    params = parameters()
    optimizer = cls(params)
    before = copies(params)
    optimizer.eval()
    optimizer.train()
    assert equal(before, params)


def test_there_and_back(cls: Any) -> None:
    params = parameters()
    optimizer = cls(params, lr=0.1)
    train(optimizer, 10)  # some stand still in the first ones
    y = copies(params)
    optimizer.eval()
    x = copies(params)
    optimizer.eval()
    assert equal(x, params)
    assert not any(torch.equal(a, b) for a, b in zip(x, y, strict=True))
    optimizer.train()
    optimizer.train()
    assert_close(copies(params), y, 1e-13)


@pytest.mark.parametrize("name", ["schedulefreeadamw", "schedulefreesgd"])
def test_x_is_the_average_of_z(name: str) -> None:
    params = parameters()
    optimizer: Any = optim_core.get(name)(params, lr=0.1, r=1.0, weight_lr_power=0.0)
    z = []
    for _ in range(6):
        train(optimizer, 1)
        z.append([optimizer.state[p]["z"].clone() for p in params])
    optimizer.eval()
    weights = torch.arange(1.0, 7.0, dtype=torch.float64) / 21
    for p, points in zip(params, zip(*z, strict=True), strict=True):
        torch.testing.assert_close(p.detach(), torch.tensordot(weights, torch.stack(points), 1), rtol=1e-12, atol=1e-12)


def test_a_step_at_x_is_refused(cls: Any) -> None:
    params = parameters()
    optimizer = cls(params)
    train(optimizer, 2)
    optimizer.eval()
    optimizer.zero_grad()
    closure(params)().backward()
    before = copies(params)
    text = (
        rf"{cls.__name__}: step\(\) after eval\(\).*optimizer\.train\(\) before the forward pass.*minimize\(closure\)"
    )
    with pytest.raises(NotTraining, match=text):
        optimizer.step()
    assert equal(before, params)


def stepped(optimizer: Any, params: list[Parameter]) -> None:
    def full() -> Tensor:
        optimizer.zero_grad()
        loss = closure(params)()
        loss.backward()
        return loss

    optimizer.step(full)


@pytest.mark.parametrize("one", [lambda o, params: o.minimize(closure(params)), stepped], ids=["minimize", "closure"])
def test_steps_with_a_closure_go_back_by_themselves(cls: Any, one: Callable[[Any, list[Parameter]], None]) -> None:
    switching, staying = parameters(), parameters()
    first, second = cls(switching, lr=0.1), cls(staying, lr=0.1)
    for _ in range(5):
        first.eval()
        one(first, switching)
        one(second, staying)
        assert first.training
    assert_close(copies(switching), copies(staying), 1e-13)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_checkpoints_know_the_mode(cls: Any, mode: str) -> None:
    params = parameters()
    optimizer = cls(params, lr=0.1)
    train(optimizer, 3)
    getattr(optimizer, mode)()
    others = [Parameter(p.detach().clone()) for p in params]
    resumed = cls(others, lr=0.1)
    resumed.load_state_dict(reloaded(optimizer.state_dict()))
    assert resumed.training is optimizer.training
    for _ in range(3):
        train(optimizer, 1)
        train(resumed, 1)
        assert equal(params, others)


def test_a_group_may_join_in_either_mode(cls: Any) -> None:
    params = parameters()
    optimizer = cls(params[:1])
    optimizer.eval()
    optimizer.add_param_group({"params": params[1:]})
    assert [group["training"] for group in optimizer.param_groups] == [False, False]
    train(optimizer, 2)
    assert [group["training"] for group in optimizer.param_groups] == [True, True]


@pytest.mark.parametrize("name", [spec.name for spec in base_only_specs() if not spec.needs])
def test_wrappers_pass_the_mode_on(cls: Any, name: str) -> None:
    params = parameters()
    base = cls(params, lr=0.1)
    optimizer = around(base, name)
    train(optimizer, 3)
    optimizer.eval()
    assert not base.training
    with pytest.raises(NotTraining):
        optimizer.step()
    train(optimizer, 1)
    assert base.training
    optimizer.eval()
    optimizer.train()
    assert base.training


@pytest.mark.parametrize("name", [spec.name for spec in base_only_specs()])
def test_around_other_methods_modes_have_no_effect(name: str) -> None:
    params = parameters()
    named = [(f"{i}.weight", p) for i, p in enumerate(params)]
    optimizer = around(torch.optim.SGD(named, lr=0.1), name)
    before = copies(params)
    optimizer.eval()
    optimizer.train()
    assert equal(before, params)


def test_complex_and_low_precision_parameters_move_too(cls: Any) -> None:
    for lr in (0.1, 10.0):  # some take such small steps that bfloat16 does not see them
        params = [Parameter(torch.tensor([1 + 2j, -1j])), Parameter(torch.tensor([1.0, -2.0], dtype=torch.bfloat16))]
        optimizer = cls(params, lr=lr)
        for _ in range(10):
            optimizer.minimize(lambda params=params: sum(p.abs().square().sum().float() for p in params))
        y = copies(params)
        optimizer.eval()
        if not any(torch.equal(a, b) for a, b in zip(y, params, strict=True)):
            break
    else:
        pytest.fail("x and y are the same")
    optimizer.train()
    for a, b in zip(y, params, strict=True):
        torch.testing.assert_close(b.detach(), a, rtol=2e-2, atol=1e-2)
