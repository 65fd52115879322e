"""What stands from one step to the next changes nothing, whatever happens in between."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from support.methods import two_step_wrappers
from support.small import copies
from support.two_steps import period, wrapped
from torch.nn import Parameter

import optim_core

each = pytest.mark.parametrize("name", two_step_wrappers())


def other_memory(optimizer: Any, params: list[Parameter], draw: random.Random) -> None:
    p = draw.choice(params)
    p.data = p.data.clone()


def other_layout(optimizer: Any, params: list[Parameter], draw: random.Random) -> None:
    p = params[0]
    p.data = p.data.t().contiguous().t() if p.is_contiguous() else p.data.contiguous()


def other_rate(optimizer: Any, params: list[Parameter], draw: random.Random) -> None:
    draw.choice(optimizer.param_groups)["lr"] = draw.uniform(0.01, 0.1)


def other_radius(optimizer: Any, params: list[Parameter], draw: random.Random) -> None:
    optimizer.options["rho"] = draw.uniform(0.05, 0.5)


def radius_of_a_group(optimizer: Any, params: list[Parameter], draw: random.Random) -> None:
    draw.choice(optimizer.param_groups)["rho"] = draw.uniform(0.05, 0.5)


def frozen(optimizer: Any, params: list[Parameter], draw: random.Random) -> None:
    p = draw.choice(params[:-1])
    p.requires_grad_(not p.requires_grad)


def other_group(optimizer: Any, params: list[Parameter], draw: random.Random) -> None:
    p = optimizer.param_groups[0]["params"].pop()
    name = optimizer.param_groups[0]["param_names"].pop()
    optimizer.add_param_group({"params": [(name, p)], "lr": 0.05})


def own_state(optimizer: Any, params: list[Parameter], draw: random.Random) -> None:
    optimizer.load_state_dict(optimizer.state_dict())


EVENTS = (
    other_memory,
    other_layout,
    other_rate,
    other_radius,
    radius_of_a_group,
    frozen,
    other_group,
    own_state,
)


@each
@pytest.mark.parametrize("engine", ["auto", "eager"])
def test_what_stands_from_step_to_step_changes_nothing(name: str, engine: str) -> None:
    ends = []
    for afresh in (False, True):
        draw = random.Random(0)  # noqa: S311 - nothing secret
        params = [Parameter(torch.sin(torch.arange(1200.0) + i).double().reshape(30, 40)) for i in range(5)]
        named = [(f"{i}.{'weight' if i % 2 else 'bias'}", p) for i, p in enumerate(params)]
        groups = [{"params": named[:3], "lr": 0.1}, {"params": named[3:], "lr": 0.05}]
        optimizer = wrapped(name, optim_core.get("sgd")(groups, lr=0.1, engine=engine), **period(name, 2))
        steps = [event for event in EVENTS for _ in range(3)]
        draw.shuffle(steps)
        for event in steps:
            if event is not other_group or len(optimizer.param_groups[0]["params"]) > 1:
                event(optimizer, params, draw)
            for _ in range(2):
                if afresh:
                    optimizer._reset()
                optimizer.minimize(lambda: sum((p * p).sin().sum() for p in params if p.requires_grad))  # noqa: B023
        ends.append(copies(params))
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=0)
