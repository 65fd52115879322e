"""What the sign pack promises beyond its trajectories."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import Parameter

import optim_core


def named(**values: list[Any]) -> dict[str, Parameter]:
    return {name.replace("__", "."): Parameter(torch.tensor(x, dtype=torch.float64)) for name, x in values.items()}


def tiger(params: dict[str, Parameter], **options: Any) -> Any:
    return optim_core.get("tiger")(params.items(), **{"lr": 0.5, "weight_decay": 0.0} | options)


def step(optimizer: Any, params: dict[str, Parameter], gradient: float = 1.0) -> None:
    for p in params.values():
        p.grad = torch.full_like(p, gradient)
    optimizer.step()


def test_tiger_goes_by_names() -> None:
    params = named(
        beta__weight=[2.0, 2.0],  # a module's name says nothing of its weights
        layer__in_proj_bias=[0.0, 0.0],
        norm__gamma=[1.0, 3.0],
        embeddings__weight=[[4.0, 4.0], [0.0, 0.0]],
        embeddings__norm__weight=[3.0, 3.0],
        embedding__weight=[[1.0, -1.0]],
    )
    step(tiger(params, weight_decay=0.5), params)
    assert {name: p.tolist() for name, p in params.items()} == {
        "beta.weight": [2 - 2 * 0.5 * (1 + 0.5 * 2)] * 2,
        "layer.in_proj_bias": [-0.25, -0.25],
        "norm.gamma": [0.75, 2.75],
        "embeddings.weight": [[4 - 4 * 0.5 * (1 + 0.5 * 4)] * 2, [0.0, 0.0]],
        "embeddings.norm.weight": [3 - 3 * 0.5 * (1 + 0.5 * 3)] * 2,
        "embedding.weight": [[1 - 0.5 * (1 + 0.5), -1 - 0.5 * (1 - 0.5)]],
    }


@pytest.mark.parametrize("foreach", [True, False])
def test_tiger_leaves_out_gradients_with_a_nan(foreach: bool) -> None:
    params = named(weight=[2.0, 4.0], gamma=[2.0, 1.0], sound=[1.0, 1.0])
    optimizer = tiger(params, shrink_ratio=0.5, foreach=foreach)
    step(optimizer, params)
    before = {name: p.detach().clone() for name, p in params.items()}
    averages = {name: optimizer.state[p]["m"].clone() for name, p in params.items()}
    for name, p in params.items():
        p.grad = torch.tensor([1.0, 1.0 if name == "sound" else math.nan], dtype=torch.float64)
    optimizer.step()
    assert torch.equal(params["weight"], before["weight"] / 2)
    assert torch.equal(params["gamma"], 1 + (before["gamma"] - 1) / 2)
    assert not torch.equal(params["sound"], before["sound"])
    for name in ("weight", "gamma"):
        assert torch.equal(optimizer.state[params[name]]["m"], averages[name])
    optimizer.param_groups[0]["lr"] = 0.0
    before = {name: p.detach().clone() for name, p in params.items()}
    optimizer.step()
    assert all(torch.equal(p, before[name]) for name, p in params.items())


def test_tiger_accumulates_as_if_the_batch_were_larger() -> None:
    one, three = named(weight=[2.0, -4.0]), named(weight=[2.0, -4.0])
    large, small = tiger(one), tiger(three, grad_accum_steps=3)
    for _ in range(4):
        step(large, one, 2.0)
        for gradient in (1.0, 2.0, 3.0):
            step(small, three, gradient)
        torch.testing.assert_close(one, three)
        torch.testing.assert_close(large.state[one["weight"]]["m"], small.state[three["weight"]]["m"])


def test_tiger_s_groups_for_what_the_names_miss() -> None:
    head = Parameter(torch.zeros(2, 2))
    optimizer = optim_core.get("tiger")([{"params": [head]}], lr=0.5, weight_decay=0.0)
    head.grad = torch.ones_like(head)
    optimizer.step()
    assert not head.any()  # zeros stay zeros, as documented
    optimizer = optim_core.get("tiger")([{"params": [head], "rms_scale": False, "lr": 0.25}], lr=0.5, weight_decay=0.0)
    optimizer.step()
    assert (head == -0.25).all()


def test_msvag_shrinks_noise() -> None:
    p = Parameter(torch.zeros(2, dtype=torch.float64))
    optimizer = optim_core.get("msvag")([p], lr=1.0, beta=0.5)
    steps = []
    for n in range(20):
        before = p.detach().clone()
        p.grad = torch.tensor([1.0, 1.0 if n % 2 else -1.0], dtype=torch.float64)
        optimizer.step()
        steps.append((p.detach() - before).abs())
    assert steps[-1][0] == pytest.approx(1.0)  # no noise: the momentum itself
    # m = 1/3, v = 1, rho = 1/3: s = 4/3, f = 1/5
    assert steps[-1][1] == pytest.approx(1 / 3 * 1 / 5, rel=1e-4)
