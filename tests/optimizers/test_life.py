"""What optimizers keep: nothing of parameters that have gone, and nothing once they have gone themselves."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from support import methods, small
from support.wrappers import around, base_only_specs, torch_base
from torch.nn import Parameter

import optim_core
from optim_core.optimizers.needs import needs_of

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")


def makers() -> Iterator[tuple[str, Any]]:
    for spec in methods.optimizers(without=("total_steps",)):
        yield spec.name, lambda params, name=spec.name: optim_core.get(name)(params)
    for spec in base_only_specs():
        yield spec.name, lambda params, name=spec.name: around(optim_core.get("adam")(params), name)
        yield (
            f"{spec.name}-torch",
            lambda params, name=spec.name: around(torch_base(name)(params, lr=0.1), name),
        )


MAKERS = dict(makers())


def step(optimizer: Any, t: int = 0) -> None:
    params = optimizer.param_groups[0]["params"]
    several = "multi_loss" in needs_of(optimizer)
    optimizer.minimize(lambda: [small.loss(params, t), small.loss(params, t + 1)] if several else small.loss(params, t))


@pytest.fixture(scope="module")
def torch_has_stepped() -> None:
    """What torch imports at the first step may leave frames behind."""
    step(optim_core.get("adamw")(small.parameters()))


@pytest.fixture
def no_collector(torch_has_stepped: None) -> Iterator[None]:
    """Without it, only what nothing refers to is freed."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("name", MAKERS)
def test_what_is_dropped_is_freed_at_once(name: str) -> None:
    """No cycle holds an optimizer or its parameters until the collector comes by."""
    params = small.parameters()
    optimizer = MAKERS[name](small.named(params))
    for t in range(2):
        step(optimizer, t)
    optimizer.explain()
    held = [weakref.ref(x) for x in (optimizer, *params, getattr(optimizer, "base", optimizer))]
    del optimizer, params
    assert [ref() for ref in held if ref() is not None] == []


def exchange(optimizer: Any, *, with_state: bool) -> list[weakref.ref[Parameter]]:
    """Put other parameters in the place of all there are, as the code of Gaussian splatting does."""
    gone = []
    for group in optimizer.param_groups:
        for i, p in enumerate(group["params"]):
            group["params"][i] = new = Parameter(p.detach().clone())
            state = optimizer.state.pop(p, None)
            if with_state and state is not None:
                optimizer.state[new] = state
            gone.append(weakref.ref(p))
    return gone


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("with_state", [True, False])
@pytest.mark.parametrize("name", MAKERS)
def test_parameters_that_leave_are_let_go(name: str, with_state: bool) -> None:
    optimizer = MAKERS[name](small.named(small.parameters()))
    for t in range(2):
        step(optimizer, t)
    optimizer.zero_grad()
    gone = exchange(optimizer, with_state=with_state)
    step(optimizer, 2)
    step(optimizer, 3)
    assert [ref() for ref in gone if ref() is not None] == []
    optimizer.state_dict()


def test_exchanged_parameters_are_excluded_by_name() -> None:
    ends = []
    for exchanges in (False, True):
        optimizer = optim_core.get_wrapper("agc")(
            torch.optim.SGD(small.named(small.parameters()), lr=0.1), clip_factor=0.01, exclude=["a.bias"]
        )
        for t in range(4):
            step(optimizer, t)
            if exchanges:
                exchange(optimizer, with_state=True)
        ends.append(optimizer.param_groups[0]["params"])
    assert small.equal(*ends)


@pytest.mark.parametrize("options", small.CPU_ENGINES, ids=str)
@pytest.mark.parametrize("name", ["adamw", "lion", "sgd"])
def test_exchanged_parameters_go_on_as_before(name: str, options: dict[str, Any]) -> None:
    ends = []
    for exchanges in (False, True):
        optimizer = optim_core.get(name)(small.parameters(), lr=0.1, **options)
        for t in range(4):
            step(optimizer, t)
            if exchanges:
                exchange(optimizer, with_state=True)
        ends.append(optimizer.param_groups[0]["params"])
    assert small.equal(*ends)


def test_another_parameter_with_the_same_id() -> None:
    """Explanations are of the parameter itself, not of whatever has stood at its address."""
    optimizer: Any = optim_core.get("adamw")([Parameter(torch.ones(3))])
    for _ in range(20):
        step(optimizer)
        assert "before the first step" not in optimizer.explain().rows[0].engine
        optimizer.zero_grad()
        optimizer.state.clear()
        optimizer.param_groups[0]["params"].clear()
        optimizer.param_groups[0]["params"].append(Parameter(torch.ones(3)))
        assert "before the first step" in optimizer.explain().rows[0].engine
