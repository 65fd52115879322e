"""What an engine assembles for one step serves the next, unless something has changed."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.small import assert_close
from support.training import parameters, set_gradients

import optim_core

Change = Callable[[list[Any], Any], None]


def _reallocated(params: list[Any], _: Any) -> None:
    params[0].data = params[0].data.clone()


def _transposed(params: list[Any], _: Any) -> None:
    params[1].data = params[1].data.t()


def _doubled(params: list[Any], _: Any) -> None:
    for p in params:
        p.data = p.data.double()


def _fewer(params: list[Any], _: Any) -> None:
    params[2].data = params[2].data[:10]


def _new_state(params: list[Any], optimizer: Any) -> None:
    states = optimizer.state[params[0]]
    states["exp_avg"] = states["exp_avg"].clone() * 0.5


def _new_group(params: list[Any], optimizer: Any) -> None:
    params += parameters(torch.float32, (9, 300))
    optimizer.add_param_group({"params": params[-1:]})


def _new_options(_: list[Any], optimizer: Any) -> None:
    optimizer.param_groups[0].update(lr=0.03, betas=(0.5, 0.6), weight_decay=0.0, maximize=True)


def _amsgrad(_: list[Any], optimizer: Any) -> None:
    optimizer.param_groups[0]["amsgrad"] = True


def _step_count(params: list[Any], optimizer: Any) -> None:
    optimizer.state[params[0]]["step"] = 0


CHANGES = [
    _reallocated,
    _transposed,
    _doubled,
    _fewer,
    _new_state,
    _new_group,
    _new_options,
    _amsgrad,
    _step_count,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("engine", ["eager", "auto"])
def test_whatever_changes_between_steps(change: Change, engine: str) -> None:
    """Against an optimizer that assembles every step anew."""
    mine, theirs = (parameters(torch.float32, (30, 200), (30, 30), (50,)) for _ in range(2))
    tested = optim_core.get("adamw")(mine, lr=0.01, engine=engine)
    reference = optim_core.get("adamw")(theirs, lr=0.01, engine="eager")
    for n in range(6):
        for params, optimizer in ((mine, tested), (theirs, reference)):
            set_gradients(params, n)
            if n == 3:
                change(params, optimizer)
                set_gradients(params, n)
            if change is _fewer and n == 3:
                for name in ("exp_avg", "exp_avg_sq"):
                    optimizer.state[params[2]][name] = optimizer.state[params[2]][name][:10]
            if optimizer is reference:
                optimizer.engine = "eager"  # forgets what it has assembled
            optimizer.step()
        assert_close(mine, theirs, 1e-5)


def test_gradients_come_and_go() -> None:
    mine, theirs = (parameters(torch.float32, (30, 200), (30, 30), (50,)) for _ in range(2))
    tested, reference = optim_core.get("adamw")(mine), optim_core.get("adamw")(theirs, engine="eager")
    for n, missing in enumerate([(), (1,), (1,), (0, 2), (), (), (0, 1, 2), ()]):
        for params, optimizer in ((mine, tested), (theirs, reference)):
            set_gradients(params, n)
            for i in missing:
                params[i].grad = None
            optimizer.engine = optimizer.engine if optimizer is tested else "eager"
            optimizer.step()
        assert_close(mine, theirs, 1e-5)


def test_gradients_of_another_type_or_address_every_step() -> None:
    mine, theirs = (parameters(torch.bfloat16, (60, 100)) for _ in range(2))
    tested, reference = optim_core.get("adamw")(mine), optim_core.get("adamw")(theirs, engine="eager")
    kept = []
    for n in range(5):
        for params, optimizer in ((mine, tested), (theirs, reference)):
            set_gradients(params, n)
            kept.append(params[0].grad)  # so that the next one lies elsewhere
            optimizer.step()
        assert_close(mine, theirs, 2**-7)


@pytest.mark.parametrize("engine", ["eager", "native"])
def test_gradients_are_let_go_of(engine: str) -> None:
    params = parameters(torch.float32, (30, 200))
    optimizer = optim_core.get("adamw")(params, engine=engine)
    for n in range(3):
        set_gradients(params, n)
        kept = weakref.ref(params[0].grad)
        optimizer.step()
        optimizer.zero_grad()
        assert kept() is None
