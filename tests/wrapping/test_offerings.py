"""Wrappers that act on what a rule names: its denominator, its second moment, its gain.

Which methods name what is found by tracing them; that they name it rightly is measured.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from support.methods import works_on_matrices
from support.offerings import loss, offers, parameters, rule_classes, run, with_denominator, with_pace
from support.small import assert_same, copies, equal, finite
from torch.nn import Parameter

import optim_core
from optim_core import RuleOptimizer, hyper, state
from optim_core.errors import NotOffered, WrapperConflict
from optim_core.rules import (
    Level,
    Value,
    denominator,
    gain,
    lerp,
    second_moment,
    square,
)

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")

softplus_wrapper, stablewd = (optim_core.get_wrapper(name) for name in ("softplus", "stablewd"))

CASES = {
    "dividing": lambda: without_needs(with_denominator()),
    "pacing": lambda: without_needs(with_pace()),
    "dividing_matrices": lambda: [name for name in with_denominator() if works_on_matrices(rule_classes()[name])],
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Rules are traced when tests are collected, not when this module is imported."""
    for argument in CASES.keys() & set(metafunc.fixturenames):
        metafunc.parametrize(argument, CASES[argument]())


def without_needs(names: Sequence[str]) -> list[str]:
    """Those of the methods that need no more than gradients."""
    return [name for name in names if not optim_core.info(name).needs]


# what methods name ---------------------------------------------------------------------------------------------
def test_there_are_methods_of_every_kind() -> None:
    dividing, pacing = set(with_denominator()), set(with_pace())
    assert len(dividing) > 20
    assert len(pacing) > 20
    assert dividing - pacing
    assert pacing - dividing
    assert set(rule_classes()) - dividing - pacing
    levels = {found.second_moment.level for found in offers().values() if found.second_moment is not None}
    assert {Level.ELEMENT, Level.TENSOR} <= levels


@pytest.mark.parametrize("name", rule_classes())
def test_a_method_takes_the_wrappers_for_which_it_offers_something(name: str) -> None:
    for wrapper, taken in ((softplus_wrapper, with_denominator()), (stablewd, with_pace())):
        base = rule_classes()[name](parameters())
        for group in base.param_groups:
            if "weight_decay" in group:
                group["weight_decay"] = 0.0
        if name in taken:
            assert wrapper(base).innermost is base
        else:
            with pytest.raises(NotOffered, match=rf"which {type(base).__name__} does not have, or not with these"):
                wrapper(base)
            assert base.composition.transforms == ()


def without_eps_and_decay(cls: Any) -> dict[str, Any]:
    wanted = {"eps": 1e-30} | dict.fromkeys((n for n in cls.hypers if n.startswith("weight_decay")), 0.0)
    return {n: x for n, x in wanted.items() if n in cls.hypers and isinstance(cls.hypers[n].default, float)}


@pytest.mark.parametrize("form", ["raw", "debiased"])
def test_a_sharp_softplus_changes_nothing_and_a_blunt_one_does(dividing: str, form: str) -> None:
    """A sharp one is the identity, eps aside: so what is named as bare, correction and scale is right."""
    cls, params = rule_classes()[dividing], parameters()
    wanted = run(cls(params, **without_eps_and_decay(cls)), params)
    for sharpness, same in ((1e40, True), (0.5, False)):
        params = parameters()
        base = cls(params, **without_eps_and_decay(cls))
        got = run(softplus_wrapper(base, beta_softplus=sharpness, denominator=form), params)
        assert finite(got)
        if same:
            assert_same(got, wanted, 1e-9)
        else:
            assert any(not torch.equal(p, q) for p, q in zip(got, wanted, strict=True))


def test_decay_is_in_proportion_to_the_step_in_the_long_run(pacing: str) -> None:
    """Under a steady gradient c a step is e c and the decay e weight_decay p, with one e for all elements."""
    cls, c, weight_decay, steps = rule_classes()[pacing], 0.3, 0.25, 400
    p = Parameter(torch.ones(6, dtype=torch.float64))
    optimizer = stablewd(cls([p], **without_eps_and_decay(cls), **forgetful(cls)), weight_decay=weight_decay)
    optimizer.param_groups[0]["lr"] *= 1e-6
    before = torch.tensor([1.0, -1.0, 0.5, -0.5, 0.1, 0.0], dtype=torch.float64)
    for t in range(steps):
        p.grad = torch.full_like(p, c)
        if t == steps - 1:
            with torch.no_grad():
                p.copy_(before)
        optimizer.step()
    rates = (before - p.detach()) / (c + weight_decay * before)
    assert float(rates.min()) > 0
    assert float(rates.max() / rates.min()) == pytest.approx(1, rel=0.01)


def forgetful(cls: Any) -> dict[str, Any]:
    """Options with which averages reach their end soon."""
    decays = {name: h.default for name, h in cls.hypers.items() if h.lt == 1}
    return {
        name: tuple(min(x, 0.9) for x in value) if isinstance(value, tuple) else min(value, 0.9)
        for name, value in decays.items()
        if value is not None
    }


def test_steps_that_divide_by_nothing_do_not_decay() -> None:
    ends = []
    for wrapped in (False, True):
        params = parameters()
        optimizer: Any = optim_core.get("radam")(params, degenerated_to_sgd=True, lr=0.01)
        optimizer = stablewd(optimizer, weight_decay=10.0) if wrapped else optimizer
        for t in range(6):
            optimizer.minimize(lambda params=params, t=t: loss(params, t))
            ends.append(copies(params))
    assert_same(ends[6 + 4], ends[4])
    assert not torch.allclose(ends[6 + 5][0], ends[5][0])


# what is refused -----------------------------------------------------------------------------------------------
def test_what_is_refused_says_what_to_do() -> None:
    params = parameters()
    with pytest.raises(
        NotOffered, match=r"SoftplusDenominator needs a denominator, which SGD does not have.* adam,.* torch:adam"
    ) as refused:
        softplus_wrapper(torch.optim.SGD(params, lr=0.1))
    listed = str(refused.value).partition("Methods that have one: ")[2].split(", ")
    assert set(with_denominator()) <= set(listed)
    assert not set(with_pace()) - set(with_denominator()) & set(listed)
    for base in (torch.optim.Rprop(params), optim_core.get("lion")(params), optim_core.get("muon")(params)):
        for group in base.param_groups:
            group["weight_decay"] = 0.0
        with pytest.raises(NotOffered, match=r"needs a second moment, or a gain, which \w+ does not have.* sgd"):
            stablewd(base)
    with pytest.raises(NotOffered, match="which RMSprop does not have, or not with these options"):
        softplus_wrapper(torch.optim.RMSprop(params, momentum=0.9))
    with pytest.raises(WrapperConflict, match=r"AdamW has weight_decay=0\.01: give it weight_decay=0, or leave this"):
        stablewd(torch.optim.AdamW(params))
    for sgd in (torch.optim.SGD, optim_core.get("sgd")):
        with pytest.raises(WrapperConflict, match="the steps of SGD grow without end: give it a momentum below 1"):
            stablewd(sgd(params, lr=0.1, momentum=1.0))
    lacking = torch.optim.SGD(params, lr=0.1)
    lacking.param_groups[0]["lr"] = None
    with pytest.raises(WrapperConflict, match="goes by the learning rate, but SGD has lr=None"):
        stablewd(lacking)


class Either(RuleOptimizer):
    """Divides or not, as an option says."""

    lr: float = hyper(0.1, "step size", ge=0)
    adaptive: bool = hyper(True, "divide by the root of an average of squares")

    exp_avg_sq = state("average of g squared")

    @staticmethod
    def rule(p: Value, g: Value, exp_avg_sq: Value, *, lr: Value, adaptive: bool) -> tuple[Value, ...]:
        exp_avg_sq = lerp(square(g), exp_avg_sq, 0.9)
        if adaptive:
            return p - lr * g / denominator(second_moment(exp_avg_sq) ** 0.5 + 1e-8), exp_avg_sq
        return p - gain(lr, 1.0) * g, exp_avg_sq


def test_options_in_force_decide_group_by_group() -> None:
    params = parameters()
    optimizer = softplus_wrapper(Either(params[:2]))
    with pytest.raises(NotOffered, match="which Either does not have, or not with these options"):
        optimizer.add_param_group({"params": params[2:], "adaptive": False})
    assert len(optimizer.param_groups) == 1
    optimizer = stablewd(Either(params[:2]))
    with pytest.raises(WrapperConflict, match=r"some groups of Either have a second moment, others have none"):
        optimizer.add_param_group({"params": params[2:], "adaptive": False})
    optimizer.add_param_group({"params": params[2:]})
    others, twin = copy.deepcopy((params, optimizer))
    assert_same(run(twin, others), run(optimizer, params))


@pytest.mark.parametrize("base", [torch.optim.Adam, optim_core.get("adam"), optim_core.get("madgrad")])
def test_a_warm_up_may_begin_at_zero(base: Any) -> None:
    params = parameters()
    optimizer = softplus_wrapper(base(params, lr=0.0))
    before = copies(params)
    optimizer.minimize(lambda: loss(params, 0))
    assert equal(params, before)
    optimizer.param_groups[0]["lr"] = 0.1
    optimizer.minimize(lambda: loss(params, 0))
    assert not any(torch.equal(p, q) for p, q in zip(params, before, strict=True))


def test_softplus_is_not_put_on_twice() -> None:
    ranger21 = optim_core.get("ranger21")
    with pytest.raises(NotOffered, match="which Ranger21 does not have, or not with these options"):
        softplus_wrapper(ranger21(parameters()))
    ends = []
    for own in (True, False):
        params = parameters()
        optimizer: Any = ranger21(params, use_softplus=own, softplus_beta=30.0)
        optimizer = optimizer if own else softplus_wrapper(optimizer, beta_softplus=30.0, denominator="debiased")
        ends.append(run(optimizer, params))
    assert_same(ends[1], ends[0])


def test_the_denominator_is_reached_past_a_transform_that_works_on_copies(dividing_matrices: str) -> None:
    # by the norm over all parameters, so around this rule on copies
    clip = functools.partial(optim_core.get_wrapper("clip"), max_norm=0.5)
    ends = []
    for order in ((clip,), (softplus_wrapper, clip), (clip, softplus_wrapper)):
        params = parameters()
        optimizer = rule_classes()[dividing_matrices](params)
        for wrapper in order:
            optimizer = wrapper(optimizer)
        ends.append(run(optimizer, params))
    assert_same(ends[2], ends[1])
    assert any(not torch.allclose(x, y) for x, y in zip(ends[0], ends[1], strict=True))
