"""Schedulers of the packs: saved, resumed, several groups, one after and over another; driven by the registry.

Defects seen elsewhere and where their tests are: swallowed keywords, lr = 0, zero and late gradients, odd shapes,
gradients overwritten, missing lr, private generators (the kit); wrappers that are no optimizers or lose their state
(test_wrappers); state by order, foreign and shared checkpoints, decay on normalisation layers, backward inside
closures (test_stepping); broken torch.hub entries (test_hub); schedulers without state, or with one rate for all
groups (here).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from support.methods import schedulers
from support.small import reloaded
from torch.nn import Parameter
from torch.optim import lr_scheduler

import optim_core
from optim_core import schedules
from optim_core.errors import InvalidOption, OptimCoreError, UnknownOption

SPECS = schedulers()
SCHEDULERS = list(SPECS)
#: Those of which the code is ours; torch tests its own.
OURS = [name for name, spec in SPECS.items() if not spec.target.startswith("torch.")]
#: Those whose rates follow from the step alone.
TIMED = [name for name in OURS if "metric" not in SPECS[name].needs]


def has(name: str, option: str) -> bool:
    return option in inspect.signature(optim_core.get_scheduler(name)).parameters


def over(name: str) -> bool:
    """Whether the example has another schedule inside."""
    return "lr_scheduler=" in SPECS[name].example


def optimizer_for(name: str, *lrs: Any) -> torch.optim.Optimizer:
    beta2s = (0.9, 0.95)
    groups = [schedules.trial_group(SPECS[name], lr=lr, betas=(0.9, beta2s[k])) for k, lr in enumerate(lrs)]
    return torch.optim.Adam(groups, foreach=False)


def built(name: str, *lrs: Any, **options: Any) -> tuple[Any, Any]:
    optimizer = optimizer_for(name, *(lrs or (0.1, 0.01)))
    return optimizer, schedules.example(SPECS[name], optimizer, **options)


def driven(name: str, optimizer: Any) -> Any:
    """The optimizer as the scheduler sees it."""
    return schedules.option_of(optimizer, "lr" if over(name) else SPECS[name].sets)


def rates(name: str, optimizer: Any, scheduler: Any, steps: int) -> list[list[float]]:
    """What is in force at each of the next steps. A metric gets better, and then no more."""
    seen = []
    for n in range(steps):
        seen.append(schedules.values(SPECS[name], optimizer))
        optimizer.step()
        if scheduler is not None:
            schedules.advance(SPECS[name], scheduler, metric=max(0.5, 1 - 0.1 * n))
    return seen


# ours -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", OURS)
def test_each_group_keeps_its_own_rate(name: str) -> None:
    both = rates(name, *built(name, 0.1, 0.01), 50)
    assert [[first] for first, _ in both] == rates(name, *built(name, 0.1), 50)
    if SPECS[name].sets == "lr":
        lowest = min(second for _, second in both)
        assert all(second < first or first == second == lowest for first, second in both)


@pytest.mark.parametrize("name", OURS)
def test_a_rate_on_the_device_is_the_same(name: str) -> None:
    lrs = torch.tensor(0.1, dtype=torch.float64), torch.tensor(0.01, dtype=torch.float64)
    optimizer, scheduler = built(name, *lrs)
    expected = rates(name, *built(name), 40)
    assert rates(name, optimizer, scheduler, 40) == [pytest.approx(row, rel=1e-12) for row in expected]
    assert optimizer.param_groups[0]["lr"] is lrs[0]


@pytest.mark.parametrize("name", TIMED)
def test_the_last_epoch_tells_where_to_go_on(name: str) -> None:
    optimizer, scheduler = built(name)
    rates(name, optimizer, scheduler, 15)
    other = optimizer_for(name, 0.1, 0.01)
    other.load_state_dict(optimizer.state_dict())
    if over(name):
        with pytest.raises(InvalidOption, match=r"resume by scheduler\.load_state_dict"):
            schedules.example(SPECS[name], other, last_epoch=14)
        return
    resumed = schedules.example(SPECS[name], other, last_epoch=14)
    assert rates(name, other, resumed, 60) == rates(name, optimizer, scheduler, 60)


@pytest.mark.parametrize("name", [name for name in TIMED if not over(name)])
def test_any_step_can_be_gone_to(name: str) -> None:
    expected = rates(name, *built(name), 50)
    optimizer, scheduler = built(name)
    optimizer.step()
    for n in (31, 7, 0, 49):
        with pytest.warns(UserWarning, match="epoch parameter"):
            scheduler.step(n)
        assert schedules.values(SPECS[name], optimizer) == expected[n]


@pytest.mark.parametrize("name", TIMED)
def test_in_a_sequence(name: str) -> None:
    expected = rates(name, *built(name), 50)

    def sequence() -> tuple[Any, Any]:
        optimizer = driven(name, optimizer_for(name, 0.1, 0.01))
        members = [
            lr_scheduler.ConstantLR(optimizer, factor=1.0),
            schedules.example(SPECS[name], optimizer),
            lr_scheduler.ConstantLR(optimizer, factor=0.5, total_iters=100),
        ]
        return optimizer, lr_scheduler.SequentialLR(optimizer, members, milestones=[3, 43])

    optimizer, scheduler = sequence()
    rates(name, optimizer, scheduler, 3)
    assert rates(name, optimizer, scheduler, 20) == expected[:20]
    saved = reloaded({"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()})
    other, resumed = sequence()
    other.load_state_dict(saved["optimizer"])
    resumed.load_state_dict(saved["scheduler"])
    assert rates(name, other, resumed, 20) == expected[20:40]
    assert all(group["lr"] == 0.5 * group["initial_lr"] for group in other.param_groups)


@pytest.mark.parametrize("name", TIMED)
def test_first_in_a_sequence(name: str) -> None:
    expected = rates(name, *built(name), 20)
    optimizer, scheduler = built(name)
    optimizer = driven(name, optimizer)
    last = lr_scheduler.ConstantLR(optimizer, factor=0.5, total_iters=100)
    sequence = lr_scheduler.SequentialLR(optimizer, [scheduler, last], milestones=[20])
    assert rates(name, optimizer, sequence, 20) == expected


@pytest.mark.parametrize("name", TIMED)
def test_last_in_a_chain(name: str) -> None:
    expected = rates(name, *built(name), 40)

    def chain() -> tuple[Any, Any]:
        optimizer = driven(name, optimizer_for(name, 0.1, 0.01))
        members = [lr_scheduler.ConstantLR(optimizer, factor=1.0), schedules.example(SPECS[name], optimizer)]
        return optimizer, lr_scheduler.ChainedScheduler(members, optimizer)

    optimizer, scheduler = chain()
    assert rates(name, optimizer, scheduler, 20) == expected[:20]
    saved = reloaded({"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()})
    other, resumed = chain()
    other.load_state_dict(saved["optimizer"])
    resumed.load_state_dict(saved["scheduler"])
    assert rates(name, other, resumed, 20) == expected[20:]


@pytest.mark.parametrize("name", OURS)
def test_goes_with_a_wrapper(name: str) -> None:
    class Around(optim_core.Wrapper):
        pass

    expected = rates(name, *built(name), 20)
    optimizer = Around(optimizer_for(name, 0.1, 0.01))
    assert rates(name, optimizer, schedules.example(SPECS[name], optimizer), 20) == expected


# one over another -----------------------------------------------------------------------------------------------
INNER: dict[str, Callable[[Any], Any]] = {
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 30, eta_min=0.001),
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "cosine": lambda o: optim_core.get_scheduler("cosine")(o, total_steps=30),
    "a chain": lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.ExponentialLR(o, 0.9), lr_scheduler.StepLR(o, 5)]),
}
WARMUPS = [name for name in OURS if has(name, "lr_scheduler") and SPECS[name].sets == "lr"]


@pytest.mark.parametrize("make", INNER.values(), ids=INNER)
@pytest.mark.parametrize("name", WARMUPS)
def test_a_warmup_damps_another_schedule(name: str, make: Callable[[Any], Any]) -> None:
    factors = rates(name, *built(name, 1.0, 1.0), 40)
    plain = optimizer_for(name, 0.1, 0.01)
    undamped = rates(name, plain, make(plain), 40)

    def both() -> tuple[Any, Any]:
        optimizer = optimizer_for(name, 0.1, 0.01)
        return optimizer, schedules.example(SPECS[name], optimizer, lr_scheduler=make(optimizer))

    optimizer, scheduler = both()
    damped = rates(name, optimizer, scheduler, 20)
    saved = reloaded({"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()})
    other, resumed = both()
    other.load_state_dict(saved["optimizer"])
    resumed.load_state_dict(saved["scheduler"])
    damped += rates(name, other, resumed, 20)
    assert damped == [[u * f for u, f in zip(*row, strict=True)] for row in zip(undamped, factors, strict=True)]


@pytest.mark.parametrize("name", [name for name in OURS if has(name, "lr_scheduler")])
def test_what_a_schedule_may_not_be_put_over(name: str) -> None:
    optimizer = optimizer_for(name, 0.1)
    for other, text in (
        (lr_scheduler.ReduceLROnPlateau(optimizer), "step.. takes nothing, such as .*, not ReduceLROnPlateau"),
        (optimizer, "not Adam"),
        (lr_scheduler.StepLR(optimizer_for(name, 0.1), 3), "StepLR, belongs to another optimizer"),
    ):
        with pytest.raises(InvalidOption, match=text):
            schedules.example(SPECS[name], optimizer, lr_scheduler=other)
    alone = schedules.example(SPECS[name], optimizer, lr_scheduler=None)
    with pytest.raises(InvalidOption, match="saved without an lr_scheduler: build it the same way"):
        schedules.example(SPECS[name], optimizer, lr_scheduler=lr_scheduler.StepLR(optimizer, 3)).load_state_dict(
            alone.state_dict()
        )


# options --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", OURS)
def test_misspelt_missing_and_wrong_options(name: str) -> None:
    cls: Any = optim_core.get_scheduler(name)
    optimizer = optimizer_for(name, 0.1)
    with pytest.raises(InvalidOption, match=rf"{cls.__name__} goes with an optimizer, not dict: build that first"):
        cls({})
    for option, hyper in cls.hypers.items():
        with pytest.raises(UnknownOption, match=rf"{cls.__name__} has no option '{option}s'.* {option}"):
            schedules.example(SPECS[name], optimizer, **{f"{option}s": 1})
        with pytest.raises(InvalidOption, match=rf"{cls.__name__}: {option}"):
            schedules.example(SPECS[name], optimizer, **{option: []})
        if inspect.signature(cls).parameters[option].default is inspect.Parameter.empty:
            with pytest.raises(InvalidOption, match=rf"{cls.__name__} needs \w+, .*: {cls.__name__}\(\.\.\., \w+="):
                cls(optimizer)
        assert hyper.doc


BAD: list[tuple[str, Mapping[str, Any], str]] = [
    ("chebyshev", {"total_steps": 10}, r"total_steps=10 is not a power of two.*8 and 16"),
    ("chebyshev", {"total_steps": 8, "m": 2.0}, r"m=2.0, the smallest curvature, must be below M=1.0"),
    ("cosine", {"total_steps": 9, "warmup_steps": 9}, "warmup_steps=9 leaves nothing of total_steps=9"),
    (
        "cosine",
        {"total_steps": 9, "min_lr": 0.2},
        "min_lr=0.2 is above the highest lr, 0.1, in parameter group 0",
    ),
    ("linear", {"total_steps": 9, "min_lr": (0.0, 0.1)}, "highest lr, 0.01, in parameter group 1"),
    (
        "rex",
        {"total_steps": 9, "max_lr": (1, 2, 3)},
        "one number, or one for each of the optimizer's 2 parameter",
    ),
    ("rex", {"total_steps": 0}, "total_steps=0 is out of range: it must be >= 1"),
    ("cosine_warmup_restarts", {"first_cycle_steps": 5, "warmup_steps": 5}, "leaves nothing of first_cycle_steps=5"),
    ("poly", {"power": 1.0}, "power needs total_steps"),
    ("poly", {"power": 1.0, "poly_order": -1.0, "total_steps": 9}, "two different schedules: give one of them"),
    ("poly", {"poly_order": 0.5}, "poly_order=0.5 is out of range: it must be <= 0"),
    ("explore_exploit", {"total_steps": 9, "min_lr": 0.1}, "min_lr belongs to variant='ranger21'"),
    ("explore_exploit", {"total_steps": 9, "warmup_steps": 5, "explore_steps": 5}, "more than total_steps=9 together"),
    ("linear_warmup", {}, "give warmup_steps=..., or take untuned_linear_warmup"),
    ("linear_warmup", {"warmup_steps": 5, "total_steps": 9}, "total_steps is for variant='ranger21'"),
    ("linear_warmup", {"variant": "ranger21"}, "needs total_steps=..., or warmup_steps=..."),
    ("proportion", {"max_value": 1.0, "min_lr": 0.1}, "max_lr=0.1 must be above min_lr=0.1"),
    ("proportion", {"key": "radius"}, r"Adam has no 'radius' to set: wrap the optimizer first"),
    ("warmup_cosine", {"warmup_steps": 9, "decay_steps": 9}, "leaves nothing of decay_steps=9, which count the"),
    ("sgdr", {"cycles": [{"decay_steps": 9}]}, r"cycles\[0\]: WarmupCosine needs warmup_steps"),
    ("sgdr", {"cycles": [{"warmup_step": 9}]}, r"cycles\[0\]: WarmupCosine has no option 'warmup_step'"),
    ("sgdr", {"cycles": [{"warmup_steps": 9, "decay_steps": 9}]}, "decay_steps count the warm-up in"),
    ("tanh", {"t_initial": 9, "lb": 3.0}, "lb=3 must be below ub=3"),
    ("linear_onecycle", {"transition_steps": 9, "pct_final": 0.2}, "pct_final=0.2 comes before the peak"),
    ("piecewise", {"boundaries": [3, 3], "scales": [1, 1]}, r"boundaries=\[3, 3\] should rise"),
    ("piecewise", {"boundaries": [3], "scales": [1, 1]}, "1 boundaries and 2 scales: give one scale for each"),
    ("powercool", {"total_steps": 9, "cooldown_steps": (9, 10)}, "cooldown_steps=10 are more than total_steps=9"),
    ("rsqrt", {"t_initial": 9, "decay_t": 10, "warmup_t": 1}, "decay_t=10 is more than t_initial=9"),
    ("rsqrt", {"t_initial": 9, "decay_t": 1}, "without a warm-up the fall needs stable_timescale"),
    ("plateau", {"last_epoch": 3}, r"does not tell the best metric .* resume by scheduler\.load_state_dict"),
    ("cosine_option", {"start": 1, "end": 2, "total_steps": 3, "warmup_steps": 3}, "leaves nothing of total_steps=3"),
    ("momentum_schedule", {}, "cooldown_steps=50 count from the end: give total_steps"),
    ("option_schedule", {}, r"give values=\[...\] or function=..., one of the two"),
    ("option_schedule", {"values": [1.0], "groups": [2]}, r"groups=\[2\]: the optimizer has 2, counted from 0"),
    ("wsd", {"warmup_steps": 1, "stable_steps": 1, "decay_steps": 1, "decay_type": "sqrt"}, "not one of 'linear'"),
]


@pytest.mark.parametrize(("name", "options", "text"), BAD)
def test_options_that_do_not_go_together(name: str, options: Mapping[str, Any], text: str) -> None:
    optimizer: Any = optimizer_for(name, 0.1, 0.01)
    with pytest.raises(InvalidOption, match=text):
        optim_core.get_scheduler(name)(optimizer, **options)


@pytest.mark.parametrize("name", [name for name in OURS if "betas" in SPECS[name].needs])
def test_without_betas(name: str) -> None:
    optimizer = torch.optim.SGD([Parameter(torch.ones(1))], lr=0.1)
    with pytest.raises(InvalidOption, match=r"group 0 has betas=None: take linear_warmup, and choose the length"):
        optim_core.get_scheduler(name)(optimizer)


@pytest.mark.parametrize("name", [name for name in TIMED if SPECS[name].sets == "lr"])
def test_a_group_that_is_added_later(name: str) -> None:
    expected = rates(name, *built(name, 0.1, 0.01), 20)
    optimizer, scheduler = built(name, 0.1)
    rates(name, optimizer, scheduler, 7)
    group = {**optimizer_for(name, 0.1, 0.01).param_groups[1], "initial_lr": 0.01}
    optimizer.add_param_group(group)
    optimizer.step()
    with pytest.raises(
        InvalidOption, match=r"made for 1 parameter groups, .* has 2 now: .* with last_epoch=7 to go on"
    ):
        scheduler.step()
    scheduler = schedules.example(SPECS[name], optimizer, last_epoch=7)
    assert rates(name, optimizer, scheduler, 12) == expected[8:]


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if "betas" in spec.needs])
def test_a_second_beta_that_decays_nothing(name: str) -> None:
    group = {"params": [Parameter(torch.ones(1))], "betas": (0.9, 1.0)}
    with pytest.raises(
        InvalidOption, match=r"parameter group 0 has beta2=1, of a method that does not.*: take linear_"
    ):
        optim_core.get_scheduler(name)(torch.optim.SGD([group], lr=0.1))


def test_too_small_a_beta2_for_the_rectification() -> None:
    optimizer = torch.optim.Adam([Parameter(torch.ones(1))], betas=(0.9, 0.6))
    with pytest.raises(InvalidOption, match=r"beta2=0.6 in parameter group 0: up to 0.6 there is no rectification"):
        optim_core.get_scheduler("radam_warmup")(optimizer)


@pytest.mark.parametrize("name", [name for name in OURS if has(name, "max_lr") and SPECS[name].sets == "lr"])
def test_absolute_rates_one_for_each_group(name: str) -> None:
    together = rates(name, *built(name, max_lr=(1.0, 2.0), min_lr=(0.5, 0.25)), 30)
    for k, (high, low) in enumerate(((1.0, 0.5), (2.0, 0.25))):
        alone = rates(name, *built(name, 0.1, 0.01, max_lr=high, min_lr=low), 30)
        assert [row[k] for row in together] == [row[k] for row in alone]


def test_inverse_time() -> None:
    options = {"decay_steps": 4, "decay_rate": 0.5}
    assert [rate for (rate,) in rates("rex", *built("inverse_time", 1.0, **options), 9)] == [
        1 / (1 + t / 8) for t in range(9)
    ]
    stairs = rates("rex", *built("inverse_time", 1.0, **options, staircase=True), 9)
    assert [rate for (rate,) in stairs] == [1.0] * 4 + [1 / 1.5] * 4 + [0.5]


def test_a_group_without_decay_stays_so() -> None:
    groups = [{"params": [Parameter(torch.ones(1))], "weight_decay": w} for w in (0.1, 0.0)]
    optimizer = torch.optim.AdamW(groups)
    optim_core.get_scheduler("cosine_option")(optimizer, start=0.04, end=0.4, total_steps=9)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.04, 0.0]
    optimizer = torch.optim.AdamW(groups[1:])
    optim_core.get_scheduler("cosine_option")(optimizer, start=0.04, end=0.4, total_steps=9)
    assert optimizer.param_groups[0]["weight_decay"] == 0.04


def test_restarts_whose_cosine_shrinks_to_a_step() -> None:
    got = rates("rex", *built("cosine_warmup_restarts", 1.0, first_cycle_steps=4, warmup_steps=1, cycle_mult=0.3), 12)
    shrunk = [rate for (rate,) in got[4:]]
    assert shrunk == pytest.approx([0.001, 0.7**1, 0.001, 0.7**2, 0.001, 0.7**3, 0.001, 0.7**4])


# the value of another option ------------------------------------------------------------------------------------
def test_the_radius_of_sam_follows_the_lr() -> None:
    weight = Parameter(torch.tensor([1.0]))
    optimizer: Any = optim_core.get_wrapper("sam")(torch.optim.SGD([weight], lr=0.25))
    scheduler = optim_core.get_scheduler("proportion")(optimizer, max_value=1.0, min_value=0.0)
    optimizer.minimize(lambda: weight.square().sum())
    assert weight.item() == 0.0  # the gradient at 1 + rho = 2 is 4
    optimizer.param_groups[0]["lr"] = 0.125
    scheduler.step()
    assert optimizer.param_groups[0]["rho"] == 0.5


def test_one_entry_is_not_two_options() -> None:
    optimizer = optim_core.get_wrapper("sam")(torch.optim.Adadelta([Parameter(torch.ones(1))], rho=0.9))
    with pytest.raises(OptimCoreError, match="Adadelta and SAM each have a 'rho', but a parameter group has one"):
        optim_core.get_scheduler("proportion")(optimizer)


def test_what_follows_a_schedule_of_its_own_takes_no_other() -> None:
    sgd = torch.optim.SGD([Parameter(torch.ones(1))], lr=0.1)
    own = {"max_rho": 0.5, "min_rho": 0.1, "max_lr": 0.1, "min_lr": 0.0}
    with pytest.raises(
        InvalidOption, match=r"GSAM finds its 'rho' by a schedule of its own: leave .* GSAM\(\.\.\., rho="
    ):
        optim_core.get_scheduler("proportion")(optim_core.get_wrapper("gsam")(sgd, **own))
    optim_core.get_scheduler("proportion")(optim_core.get_wrapper("gsam")(sgd))
    assert sgd.param_groups[0]["rho"] == 2.0
