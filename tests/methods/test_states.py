"""How states are stored, and whose the tensors are that transforms keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch.nn import Parameter

import optim_core
from optim_core.errors import RuleError
from optim_core.rules import Transform, Value
from optim_core.wrapping import Wrapper

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")


def step(optimizer: Any, params: Sequence[Parameter]) -> None:
    for p in params:
        p.grad = torch.ones_like(p)
    optimizer.step()


@pytest.mark.parametrize("rounding", ["nearest", "stochastic", "kahan"])
@pytest.mark.parametrize("name", ["adamw", "lion", "muon", "nero", "adafactor"])
def test_announced_bytes_are_those_of_the_states(name: str, rounding: str) -> None:
    params = [Parameter(torch.ones(3, 4, dtype=dtype)) for dtype in (torch.bfloat16, torch.float32)]
    optimizer = optim_core.get(name)(params, rounding=rounding)
    step(optimizer, params)
    announced = [optimizer.state_bytes_of(p, optimizer.param_groups[0]) for p in params]
    assert announced == [sum(x.nbytes for x in tensors(optimizer.state[p])) for p in params]


def tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [x for element in value for x in tensors(element)]
    return [value] if isinstance(value, torch.Tensor) else []


def test_random_draws_tell_many_parameters_apart() -> None:
    params = [Parameter(torch.ones(1, dtype=torch.bfloat16)) for _ in range(300)]
    optimizer = optim_core.get("sgd")(params, rounding="stochastic")
    step(optimizer, params)
    assert len({float(optimizer.state[p]["salt"]) for p in params}) == len(params)


# what transforms keep ------------------------------------------------------------------------------------------
def average(wrapper_name: str, factor: float, numbers: Mapping[str, float]) -> Any:
    """A wrapper whose transform keeps the new parameter times the factor; all transforms have one class name."""

    class Average(Transform):
        keeps = ("ema",)

        def keep(self, new_p: Value, kept: Sequence[Value], options: Mapping[str, Any]) -> Sequence[Value]:
            return [factor * new_p]

    def on_wrap(self: Any) -> None:
        self.innermost.add_transform(Average(), self)

    return type(wrapper_name, (Wrapper,), {"on_wrap": on_wrap, "numbers": lambda _: numbers})


def test_transforms_of_one_class_name_keep_tensors_of_their_own() -> None:
    w = Parameter(torch.ones(2))
    inner = average("One", 2.0, {})(optim_core.get("sgd")([w], lr=0.0))
    outer = average("Two", 3.0, {})(inner)
    outer.minimize(w.sum)
    assert inner.memory[w]["ema"].tolist() == [2.0, 2.0]
    assert outer.memory[w]["ema"].tolist() == [3.0, 3.0]


def test_a_transform_that_keeps_tensors_needs_a_wrapper_to_hold_them() -> None:
    class Keeping(Transform):
        keeps = ("ema",)

    w = Parameter(torch.ones(2))
    optimizer = optim_core.get("sgd")([w], lr=0.1)
    with pytest.raises(RuleError, match=r"Keeping needs a keeper for ema: optimizer\.add_transform\("):
        optimizer.add_transform(Keeping())
