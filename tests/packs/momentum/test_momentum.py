"""What the momentum pack promises beyond its trajectories."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.one_parameter import path, start
from torch.nn import Parameter

import optim_core
from optim_core.errors import InvalidOption


def test_accsgd_refuses_an_advantage_that_the_paper_rules_out() -> None:
    with pytest.raises(InvalidOption, match=r"xi=10 is above sqrt\(kappa\)=8: take a smaller xi, or kappa=100"):
        optim_core.get("accsgd")([start()], kappa=64.0)


def test_pnm_s_betas_have_ranges_of_their_own() -> None:
    optim_core.get("pnm")([start()], betas=(0.9, 3.0))
    for beta1 in (1.0, -0.1):
        with pytest.raises(InvalidOption, match=r"PNM: betas=.*the first must be >= 0 and < 1"):
            optim_core.get("pnm")([start()], betas=(beta1, 1.0))


@pytest.mark.parametrize(
    ("name", "options"), [("accsgd", {}), ("alig", {"momentum": 0.9, "max_lr": 0.1}), ("asgd", {}), ("srmm", {})]
)
def test_lr_zero_freezes_what_had_moved(name: str, options: dict[str, float]) -> None:
    p = start()
    optimizer = optim_core.get(name)([p], **options)
    path(optimizer, p, 3)
    before = p.detach().clone()
    optimizer.param_groups[0]["lr"] = 0.0
    path(optimizer, p, 2)
    assert torch.equal(p, before)


def test_gravity_draws_in_its_constructor_and_reproducibly() -> None:
    velocities = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        p = Parameter(torch.ones(400, dtype=torch.float64))
        optimizer = optim_core.get("gravity")([p], lr=0.5, alpha=0.05)
        velocities.append(optimizer.state[p]["v"])
    assert torch.equal(velocities[0], velocities[1])
    assert not torch.equal(velocities[0], velocities[2])
    assert velocities[0].std().item() == pytest.approx(0.1, rel=0.2)


def test_gravity_leaves_torch_s_generator_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    optim_core.get("gravity")([start()])
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("options", [{"integral": 3.0}, {"derivative": 1.0}, {"dampening": 0.5}])
def test_pid_without_momentum_refuses_gains(options: dict[str, float]) -> None:
    (name,) = options
    with pytest.raises(InvalidOption, match=f"PID: {name}=.* has no effect with momentum=0.*: add momentum=0.9, say"):
        optim_core.get("pid")([start()], **options)
    optimizer = optim_core.get("pid")([start()], momentum=0.9, **options)
    optimizer.add_param_group({"params": [start()], "momentum": 0.0})


def srmm(**options: Any) -> Any:
    return optim_core.get("srmm")([start()], **options)


@pytest.mark.parametrize(
    ("options", "lr"),
    [
        ({}, 1 / 10.001),
        ({"ilr": 4.0}, 0.25),
        ({"pr": 3.999}, 0.25),
        ({"ilr": 3.0, "pr": 1.0}, 0.25),
        ({"lr": 0.5}, 0.5),
        ({"lr": 0.5, "ilr": 4.0}, 0.5),
        ({"lr": 0.25, "ilr": 3.0, "pr": 1.0}, 0.25),
        ({"lr": 0.0}, 0.0),
    ],
)
def test_srmm_settles_its_step_size(options: dict[str, float], lr: float) -> None:
    optimizer = srmm(**options)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(lr)
    optimizer.add_param_group({"params": [start()], "beta": 0.7})
    assert optimizer.param_groups[1]["lr"] == pytest.approx(lr)
    optimizer.add_param_group({"params": [start()], "lr": 0.125})
    assert optimizer.param_groups[2]["lr"] == 0.125
    optimizer.add_param_group({"params": [start()], "ilr": 1.0, "pr": 7.0})
    assert optimizer.param_groups[3]["lr"] == 0.125
    optimizer.add_param_group({**optimizer.param_groups[0], "params": [start()]})
    assert optimizer.param_groups[4]["lr"] == pytest.approx(lr)


def test_srmm_refuses_contradictions() -> None:
    with pytest.raises(InvalidOption, match=r"SRMM: lr=0.1 is not 1/\(ilr \+ pr\)=0.5: leave out one of lr and pr"):
        srmm(lr=0.1, ilr=1.0, pr=1.0)


def test_srmm_lr_is_the_proximal_weight() -> None:
    p, q = start(), start()
    first = optim_core.get("srmm")([p], ilr=2.0, pr=2.0)
    second = optim_core.get("srmm")([q], ilr=2.0, lr=0.25)
    torch.testing.assert_close(path(first, p), path(second, q))


def test_lars_scales_what_it_says() -> None:
    weights = torch.tensor([3.0, -4.0], dtype=torch.float64)

    def moved(**options: Any) -> float:
        p = Parameter(weights.clone())
        optim_core.get("lars")([p], lr=0.5, **options).minimize(lambda: 0.5 * (2 * p * p).sum())
        return float((weights - p.detach()).norm())

    assert moved() == pytest.approx(0.5 * 10)  # SGD
    assert moved(always_adapt=True) == pytest.approx(0.5 * 1e-3 * 5)
    assert moved(always_adapt=True, trust_coefficient=4.0) == pytest.approx(0.5 * 20)
    assert moved(always_adapt=True, trust_coefficient=4.0, trust_clip=True) == pytest.approx(0.5 * 10)


def test_lars_clips_at_lr_zero() -> None:
    p = start()
    optimizer = optim_core.get("lars")([p], lr=0.0, momentum=0.9, weight_decay=0.1, trust_clip=True)
    assert torch.equal(path(optimizer, p, 2)[-1], start())
    optimizer.param_groups[0]["lr"] = 0.1
    assert path(optimizer, p, 2)[-1].isfinite().all()


@pytest.mark.parametrize("name", ["lars", "sgdp"])
def test_nesterov_needs_momentum(name: str) -> None:
    with pytest.raises(InvalidOption, match=r"nesterov=True needs momentum > 0.*add momentum=0.9, say"):
        optim_core.get(name)([start()], nesterov=True)


def test_sgdp_projects_the_step_and_not_the_buffer() -> None:
    w = Parameter(torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=torch.float64))
    optimizer = optim_core.get("sgdp")([w], lr=0.1, momentum=0.9, delta=10.0)  # every tensor passes
    before = w.detach().clone()
    w.grad = torch.ones_like(w)
    optimizer.step()
    assert torch.equal(optimizer.state[w]["momentum_buffer"], torch.ones_like(w))
    assert ((w.detach() - before) * before).sum(1).abs().max() < 1e-6  # at right angles to each row
