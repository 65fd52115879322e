"""Schedules of other options than lr."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from support.methods import schedulers
from support.small import reloaded
from torch.nn import Parameter
from torch.optim import lr_scheduler

import optim_core
from optim_core import schedules
from optim_core.errors import InvalidOption, UnknownOption
from optim_core.schedules import option_of

SPECS = schedulers()
OF_LR = [name for name, spec in SPECS.items() if spec.sets == "lr" and "lr_scheduler=" not in spec.example]


def adamw(*decays: float, **options: Any) -> Any:
    groups = [{"params": [Parameter(torch.ones(2))], "weight_decay": decay} for decay in decays or (0.1,)]
    return optim_core.get("adamw")(groups, **options)


def made(name: str, optimizer: Any, **options: Any) -> Any:
    """The example of a spec, with an option of its own."""
    example = eval(f"dict({SPECS[name].example})", {"torch": torch, "optimizer": optimizer})  # noqa: S307
    return optim_core.get_scheduler(name)(optimizer, **example, **options)


def seen(name: str, optimizer: Any, scheduler: Any, option: str, steps: int = 40) -> list[list[float]]:
    found = []
    for _ in range(steps):
        found.append([float(group["lr"]) for group in option_of(optimizer, option).param_groups])
        optimizer.step()
        schedules.advance(SPECS[name], scheduler, metric=1.0)
    return found


@pytest.mark.parametrize("name", OF_LR)
def test_every_schedule_drives_another_option_as_it_drives_lr(name: str) -> None:
    own = {"cycle_momentum": False} if name in ("cyclic", "one_cycle") else {}

    def adam(option: str) -> Any:
        groups = [{"params": [Parameter(torch.ones(1))], option: value} for value in (0.1, 0.01)]
        return torch.optim.Adam(groups, lr=0.5, betas=(0.9, 0.95))

    plain = adam("lr")
    expected = seen(name, plain, made(name, plain, **own), "lr")
    optimizer = adam("weight_decay")
    scheduler = made(name, optimizer, option="weight_decay")
    assert isinstance(scheduler, optim_core.get_scheduler(name))
    assert seen(name, optimizer, scheduler, "weight_decay") == expected
    assert [(group["lr"], group["betas"]) for group in optimizer.param_groups] == [(0.5, (0.9, 0.95))] * 2
    assert isinstance(copy.deepcopy(made("step", optimizer)), lr_scheduler.StepLR)


def test_several_at_a_time_with_checkpoints() -> None:
    def run() -> tuple[Any, list[Any]]:
        optimizer = adamw(0.1, 0.0, betas=(0.8, 0.99))
        return optimizer, [
            made("cosine", optimizer),
            made("linear", optimizer, option="weight_decay"),
            made("exponential", optimizer, option="beta2"),
            made("momentum_schedule", optimizer),
        ]

    def go(optimizer: Any, members: list[Any], steps: int) -> list[Any]:
        found = []
        for _ in range(steps):
            optimizer.minimize(lambda: sum(p.square().sum() for g in optimizer.param_groups for p in g["params"]))
            for member in members:
                member.step()
            found.append(
                [(g["lr"], g["weight_decay"], g["betas"], g["params"][0].tolist()) for g in optimizer.param_groups]
            )
        return found

    whole = go(*run(), 20)
    assert len({decay for ((_, decay, _, _), _) in whole}) > 9
    assert {decay for (_, (_, decay, _, _)) in whole} == {0.0}
    assert all(0.85 <= betas[0] <= 0.95 for ((_, _, betas, _), _) in whole)
    optimizer, members = run()
    go(optimizer, members, 9)
    saved = reloaded({"optimizer": optimizer.state_dict(), "schedules": [member.state_dict() for member in members]})
    weights = [p.detach().clone() for g in optimizer.param_groups for p in g["params"]]
    optimizer, members = run()
    optimizer.load_state_dict(saved["optimizer"])
    for member, state in zip(members, saved["schedules"], strict=True):
        member.load_state_dict(state)
    with torch.no_grad():
        for p, value in zip((p for g in optimizer.param_groups for p in g["params"]), weights, strict=True):
            p.copy_(value)
    assert go(optimizer, members, 11) == whole[9:]


def test_one_over_another() -> None:
    optimizer = adamw(0.1)
    halving = made("exponential", optimizer, option="weight_decay")
    warmup = optim_core.get_scheduler("linear_warmup")(
        optimizer, option="weight_decay", warmup_steps=2, lr_scheduler=halving
    )
    optimizer.step()
    warmup.step()
    assert optimizer.param_groups[0]["weight_decay"] == pytest.approx(0.1 * 0.96)


def test_numbers_of_a_pair() -> None:
    optimizer = adamw(betas=(0.8, 0.96))
    for option, betas in (("beta2", (0.8, 0.48)), ("betas[0]", (0.4, 0.48)), ("momentum", (0.2, 0.48))):
        optim_core.get_scheduler("constant")(optimizer, factor=0.5, option=option)
        assert optimizer.param_groups[0]["betas"] == pytest.approx(betas)
        for key in [key for key in optimizer.param_groups[0] if key.startswith("initial_")]:
            assert key in ("initial_beta1", "initial_beta2")


def test_the_radius_of_a_wrapper() -> None:
    weight = Parameter(torch.tensor([1.0]))
    sam: Any = optim_core.get_wrapper("sam")(torch.optim.SGD([weight], lr=0.25), rho=2.0)
    scheduler = optim_core.get_scheduler("constant")(sam, factor=0.5, total_iters=1, option="rho")
    sam.minimize(lambda: weight.square().sum())
    assert weight.item() == 0.0  # the gradient at 1 + rho = 2 is 4
    scheduler.step()
    assert sam.param_groups[0]["rho"] == 2.0
    own = {"max_rho": 0.5, "min_rho": 0.1, "max_lr": 0.1, "min_lr": 0.0}
    gsam = optim_core.get_wrapper("gsam")(torch.optim.SGD([weight], lr=0.1), **own)
    with pytest.raises(UnknownOption, match="SGD has no option 'rho' that a schedule could set"):
        option_of(gsam, "rho")
    both = optim_core.get_wrapper("sam")(torch.optim.Adadelta([weight], rho=0.9))
    with pytest.raises(InvalidOption, match="SAM and what is inside it each have a 'rho'"):
        option_of(both, "rho")


def test_what_is_unknown_or_no_real_number_is_refused_before_anything_changes() -> None:
    optimizer = adamw()
    before, step = copy.deepcopy(optimizer.param_groups), optimizer.step
    for name in ("cosine_annealing", "cosine"):
        with pytest.raises(UnknownOption, match=r"AdamW has no option 'weight_dacay'.* Did you mean 'weight_decay'\?"):
            made(name, optimizer, option="weight_dacay")
        with pytest.raises(InvalidOption, match="'maximize' cannot be scheduled: it is not a real number"):
            made(name, optimizer, option="maximize")
    muon = optim_core.get("muon")([Parameter(torch.ones(2, 2))])
    with pytest.raises(InvalidOption, match="'ns_steps' cannot be scheduled: it is not a real number in every"):
        option_of(muon, "ns_steps")
    assert str(optimizer.param_groups) == str(before)
    assert optimizer.step == step


def test_a_value_out_of_range() -> None:
    optimizer = adamw()
    growing = optim_core.get_scheduler("exponential")(optimizer, gamma=2.0, option="beta1")
    optimizer.step()
    with pytest.raises(InvalidOption, match=r"a schedule of beta1: betas=1.8 is out of range: it must be >= 0 and < 1"):
        growing.step()


def test_the_order_of_steps_is_minded() -> None:
    optimizer = adamw()
    scheduler = made("step", optimizer, option="weight_decay")
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        scheduler.step()
