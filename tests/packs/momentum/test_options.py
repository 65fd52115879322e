"""Options that depend on each other: what is settled and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.small import parameters, train
from torch.nn import Parameter

import optim_core
from optim_core.errors import InvalidOption


def matrices(count: int) -> list[Parameter]:
    return parameters(*[(3, 4)] * count)


def build(name: str, **options: Any) -> Any:
    return optim_core.get(name)(matrices(2), **options)


@pytest.mark.parametrize("name", ["sgd", "sgdw"])
def test_nesterov_needs_momentum(name: str) -> None:
    text = "nesterov=True needs momentum > 0 and dampening = 0"
    with pytest.raises(InvalidOption, match=f"{text}, not momentum=0 and dampening=0: add momentum=0.9, say"):
        build(name, nesterov=True)
    with pytest.raises(InvalidOption, match=text):
        build(name, nesterov=True, momentum=0.9, dampening=0.1)
    optimizer = build(name, momentum=0.9)
    with pytest.raises(InvalidOption, match=text):  # a group is settled with the constructor's options
        optimizer.add_param_group({"params": matrices(1), "nesterov": True, "momentum": 0.0})
    optimizer.add_param_group({"params": matrices(1), "nesterov": True})


def test_aggmo_exponential_form() -> None:
    make = optim_core.get("aggmo").from_exp_form  # type: ignore[attr-defined]
    assert make(matrices(2), lr=0.1, a=0.5, k=3).param_groups[0]["betas"] == (0.0, 0.5, 0.75)
    with pytest.raises(InvalidOption, match=r"from_exp_form: a=0 is out of range: it must be > 0 and <= 1"):
        make(matrices(2), a=0)
    with pytest.raises(InvalidOption, match=r"from_exp_form: k=0 is out of range: it must be >= 1"):
        make(matrices(2), k=0)


def test_aggmo_equal_betas_have_their_own_velocities() -> None:
    twice, once = build("aggmo", lr=0.1, betas=(0.9, 0.9)), build("aggmo", lr=0.1, betas=(0.9,))
    for optimizer in (twice, once):
        train(optimizer, 5)
    for a, b in zip(twice.param_groups[0]["params"], once.param_groups[0]["params"], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=0)


def test_momentum_switched_on_later_starts_its_buffer() -> None:
    optimizer = build("sgd", lr=0.1)
    train(optimizer, 2)
    optimizer.param_groups[0]["momentum"] = 0.9
    train(optimizer, 2)
    assert all("momentum_buffer" in optimizer.state[p] for p in optimizer.param_groups[0]["params"])
