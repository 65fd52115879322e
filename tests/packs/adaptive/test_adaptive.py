"""What single methods of the pack `adaptive` promise beyond the trajectories of their authors' code."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.methods import optimizers
from support.small import copies, equal, parameters, train
from torch.nn import Parameter

import optim_core
from optim_core.errors import InvalidOption

#: Methods with one distance, and so one step size, for the whole model.
ONE_STEP_SIZE = [spec.name for spec in optimizers() if spec.state.get("d") == "whole"]


def matrices(count: int) -> list[Parameter]:
    return parameters(*[(3, 4)] * count)


# one step size -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ONE_STEP_SIZE)
def test_groups_have_one_lr_or_none(name: str) -> None:
    a, b = matrices(2)
    lr = optim_core.get(name).hypers["lr"].default
    optimizer = optim_core.get(name)([a], d0=1e-3)
    with pytest.raises(InvalidOption, match=r"has one step size: give all groups lr=.*, or 0 to freeze one"):
        optimizer.add_param_group({"params": [b], "lr": lr / 2})
    assert len(optimizer.param_groups) == 1
    optimizer.add_param_group({"params": [b]})
    optimizer.param_groups[1]["lr"] = lr / 2
    with pytest.raises(InvalidOption, match=r"has one step size: give all groups lr=.*, or 0 to freeze one"):
        train(optimizer)
    optimizer.param_groups[1]["lr"] = 0.0
    frozen = b.detach().clone()
    train(optimizer, 10)
    assert torch.equal(frozen, b)


@pytest.mark.parametrize("name", ONE_STEP_SIZE)
def test_a_frozen_group_counts_for_nothing(name: str) -> None:
    (a, b), (alone,) = matrices(2), matrices(1)
    with_frozen = optim_core.get(name)([{"params": [b], "lr": 0.0}, {"params": [a]}], d0=1e-3)
    without = optim_core.get(name)([alone], d0=1e-3)
    train(with_frozen, 10)
    train(without, 10)
    torch.testing.assert_close(a, alone, rtol=1e-12, atol=0)
    torch.testing.assert_close(with_frozen.whole["d"], without.whole["d"], rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ONE_STEP_SIZE)
def test_steps_in_which_nothing_counts_leave_no_trace(name: str) -> None:
    late, usual = (optim_core.get(name)(matrices(2), d0=1e-3) for _ in range(2))
    late.minimize(lambda: sum((0 * p).sum() for p in late.param_groups[0]["params"]))
    assert late.whole["d"] == 1e-3
    for group in late.param_groups:
        group["lr"] = 0.0
    train(late, 2)
    for group in late.param_groups:
        group["lr"] = 1.0
    before = late.whole["d"].clone()
    assert before == 1e-3
    train(late, 10)
    train(usual, 10)
    assert torch.isfinite(late.whole["d"])
    assert late.whole["d"] > before


# single methods ------------------------------------------------------------------------------------------------
def test_madgrad_without_eps_leaves_elements_without_gradients_alone() -> None:
    w = Parameter(torch.tensor([1.0, 2.0]))
    for momentum in (0.0, 0.9):
        optimizer = optim_core.get("madgrad")([w], eps=0.0, momentum=momentum)
        for _ in range(3):
            optimizer.minimize(lambda: w.square()[0])
        assert w[1] == 2
        assert w[0].isfinite()


def test_rmsprop_centered_takes_rounding_for_zero() -> None:
    w = Parameter(torch.ones(2))
    optimizer = optim_core.get("rmsprop")([w], centered=True)
    optimizer.minimize(lambda: w.square().sum())
    optimizer.state[w]["grad_avg"].copy_(1.001 * optimizer.state[w]["square_avg"].sqrt())
    optimizer.state[w]["square_avg"].mul_(0.98)
    optimizer.minimize(lambda: w.mul(0).sum())
    assert w.isfinite().all()


def test_qhadam_as_nadam() -> None:
    optimizer = optim_core.get("qhadam").from_nadam(matrices(2), lr=0.1, betas=(0.8, 0.99), eps=1e-6)
    assert optimizer.param_groups[0]["nus"] == (0.8, 1.0)
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.99)
    assert optimizer.param_groups[0]["eps"] == 1e-6


def test_novograd_accumulates_where_the_first_gradients_are_zero() -> None:
    w = Parameter(torch.tensor([3.0, -4.0], dtype=torch.float64))
    optimizer = optim_core.get("novograd")([w], lr=0.1)
    optimizer.minimize(lambda: w.mul(0).sum())
    optimizer.minimize(lambda: w.square().sum())
    assert optimizer.state[w]["exp_avg_sq"] == 100


def test_ranger_warns_where_nothing_is_ever_rectified() -> None:
    with pytest.warns(UserWarning, match="the rectification never sets in .* every step is a momentum step"):
        optim_core.get("ranger")(matrices(2), betas=(0.9, 0.6))


def test_ranger21_needs_the_length_of_the_run_for_its_warm_down() -> None:
    with pytest.raises(InvalidOption, match="needs the length of the run: add total_steps=1000, say"):
        optim_core.get("ranger21")(matrices(2), warmdown_active=True)
    for options, falls in (
        ({}, False),
        ({"total_steps": 9}, True),
        ({"total_steps": 9, "warmdown_active": False}, False),
    ):
        assert optim_core.get("ranger21")(matrices(2), **options).param_groups[0]["warmdown_active"] is falls


@pytest.mark.parametrize(
    ("options", "steps"),
    [({}, 2000), ({"total_steps": 5000}, 2000), ({"total_steps": 1000}, 220), ({"num_warmup_steps": 7}, 7)],
)
def test_ranger21_warms_up_for_as_long_as_v_takes(options: dict[str, Any], steps: int) -> None:
    assert optim_core.get("ranger21")(matrices(2), **options).param_groups[0]["num_warmup_steps"] == steps


def test_ranger21_never_raises_a_small_lr() -> None:
    falling, flat = matrices(2), matrices(2)
    options = {"lr": 1e-5, "use_warmup": False, "total_steps": 20}
    train(optim_core.get("ranger21")(falling, **options), 20)
    train(optim_core.get("ranger21")(flat, warmdown_active=False, **options), 20)
    assert equal(falling, flat)


def switched(params: Any) -> Any:
    optimizer = optim_core.get("swats")(params, lr=0.01, switch_tol=1.0)
    train(optimizer, 3)
    assert optimizer.whole["sgd_lr"] > 0
    return optimizer


def test_swats_schedules_act_after_the_switch() -> None:
    whole, half = matrices(2), matrices(2)
    for params, factor in ((whole, 1.0), (half, 0.5)):
        optimizer = switched(params)
        for group in optimizer.param_groups:
            group["lr"] *= factor
        start = copies(params)
        train(optimizer)
        for p, before in zip(params, start, strict=True):
            p.data -= before  # the step
    for a, b in zip(whole, half, strict=True):
        torch.testing.assert_close(0.5 * a, b, rtol=1e-12, atol=1e-15)


def test_swats_groups_keep_the_ratio_of_their_lr() -> None:
    a, b = matrices(2)
    optimizer = switched([{"params": [a]}, {"params": [b], "lr": 0.0}])
    frozen = b.detach().clone()
    train(optimizer, 3)
    assert torch.equal(frozen, b)
    alone = switched(matrices(1))
    torch.testing.assert_close(optimizer.whole["sgd_lr"], alone.whole["sgd_lr"], rtol=1e-12, atol=0)
