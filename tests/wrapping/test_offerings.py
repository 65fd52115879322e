"""Wrappers that act on what a rule names: its denominator, its second moment, its gain.

Which methods name what is found by tracing them; that they name it rightly is measured.
"""

from __future__ import annotations

import copy
import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from support.small import assert_same, copies, equal, finite
from torch import Tensor
from torch.nn import Parameter

import optim_core
from optim_core import RuleOptimizer, hyper, state
from optim_core.catalog.registry import load
from optim_core.errors import NotOffered, OptimCoreError, WrapperConflict
from optim_core.names import normalise
from optim_core.rules import (
    Denominator,
    Level,
    Offers,
    Trace,
    Transform,
    Value,
    denominator,
    gain,
    lerp,
    root,
    second_moment,
    softplus,
    sqrt,
    square,
    total,
)
from optim_core.rules.compose import Buffer, Settings, compose
from optim_core.rules.graph import Graph
from optim_core.rules.values import HOST_OPERATIONS
from optim_core.wrapping.offerings import offered
from optim_core.wrapping.torch_rules import reading_of

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")

softplus_wrapper, stablewd = (optim_core.get_wrapper(name) for name in ("softplus", "stablewd"))


def defaults(cls: Any) -> dict[str, Any]:
    return cls.resolve({name: h.default for name, h in cls.hypers.items()}, frozenset())


RULES = {spec.name: load(spec) for spec in optim_core.find(kind="optimizer") if load(spec).method.rule is not None}
NEEDY = {spec.name for spec in optim_core.find(kind="optimizer") if spec.needs}
OFFERS = {name: offered(cls, defaults(cls)) for name, cls in RULES.items()}
DIVIDING = [name for name, offers in OFFERS.items() if offers.denominators]
PACED = [name for name, offers in OFFERS.items() if offers.second_moment is not None or offers.gain is not None]


def parameters() -> list[Parameter]:
    k = torch.arange(12, dtype=torch.float64)
    return [Parameter(torch.sin(k).reshape(3, 4)), Parameter(torch.cos(k[:5])), Parameter(torch.tensor(0.7).double())]


def loss(params: Sequence[Tensor], t: int) -> Tensor:
    return torch.stack([((p - 0.1 * math.cos(t + i)).square() + 0.1 * p**4).sum() for i, p in enumerate(params)]).sum()


def run(optimizer: Any, params: Sequence[Tensor], steps: int = 12) -> list[Tensor]:
    """Steps in which one parameter has no gradient at first."""
    for t in range(steps):
        optimizer.minimize(lambda t=t: loss(params[1 if t < 2 else 0 :], t))
    return [p.detach() for p in params]


# the words -----------------------------------------------------------------------------------------------------
def plain(p: Value, g: Value, exp_avg_sq: Value, *, lr: Value, eps: Value, step: Value) -> tuple[Value, ...]:
    exp_avg_sq = lerp(square(g), exp_avg_sq, 0.9)
    return p - lr / 2 * g / (sqrt(exp_avg_sq / (1 - 0.9**step)) + eps), exp_avg_sq


def naming(p: Value, g: Value, exp_avg_sq: Value, *, lr: Value, eps: Value, step: Value) -> tuple[Value, ...]:
    exp_avg_sq = lerp(square(g), exp_avg_sq, 0.9)
    v = second_moment(exp_avg_sq, 1 - 0.9**step)
    return p - gain(lr / 2, 0.5) * g / root(v, eps, 1 - 0.9**step), exp_avg_sq


def outside(p: Value, g: Value, exp_avg_sq: Value, *, lr: Value, eps: Value, step: Value) -> tuple[Value, ...]:
    exp_avg_sq = lerp(square(g), exp_avg_sq, 0.9)
    c = 1 - 0.9**step
    return p - lr / 2 * sqrt(c) * g / root(exp_avg_sq, eps, c, outside=True), exp_avg_sq


def traced(rule: Any, *transforms: Transform) -> Graph:
    trace = Trace({"lr": 0.1, "eps": 1e-8, "step": 3.0}, (2, 2))
    numbers = {name: trace.input(name, Level.HOST) for name in ("lr", "eps", "step")}
    settings = Settings(None, fixed_decay=False, maximize=False, transforms=transforms)
    return compose(rule, trace, [Buffer("exp_avg_sq", Level.ELEMENT, True)], numbers, list(numbers), settings)


def test_words_cost_nothing_where_nobody_asks() -> None:
    with_words, without = traced(naming), traced(plain)
    assert [repr(x) for x in with_words.outputs.values()] == [repr(x) for x in without.outputs.values()]
    assert sorted(map(repr, with_words.values)) == sorted(map(repr, without.values))
    assert with_words.trace.offers is not None
    assert with_words.trace.offers.gain == 0.5


def test_a_rule_may_be_tried_by_hand() -> None:
    numbers: Any = {"p": 1.0, "g": 0.5, "exp_avg_sq": 0.25, "lr": 0.1, "eps": 1e-8, "step": 3.0}
    assert naming(**numbers) == plain(**numbers)
    assert denominator(numbers["g"]) == 0.5


@dataclass(frozen=True)
class Looking(Transform):
    """Puts the numbers that it is shown in the place of a denominator."""

    what: str

    def denominator(self, d: Denominator) -> Value:
        found: Value = d.corrected(d.bare) if self.what == "bare" else d.value
        return found


@pytest.mark.parametrize("what", ["bare", "value"])
@pytest.mark.parametrize("rule", [naming, outside])
def test_a_transform_sees_the_same_wherever_the_rule_corrects(rule: Any, what: str) -> None:
    """bare, corrected, differs from value by eps only; put in its place it leaves the rule as it was."""
    graph = traced(rule, Looking(what))
    assert graph.trace.offers is not None
    ((before, after),) = graph.trace.offers.denominators
    numbers = {"exp_avg_sq": 0.25, "g": 0.5, "lr": 0.1, "eps": 1e-8, "step": 3.0}

    def number(x: Value) -> float:
        if x.op in ("input", "constant"):
            return numbers[x.name] if x.op == "input" else x.number
        return HOST_OPERATIONS[x.op](*map(number, x.args))

    assert number(after) == pytest.approx(number(before), rel=1e-7)


def test_softplus_is_torch_s() -> None:
    for x in (0.0, 1e-3, 0.1, 0.39, 0.41, 3.0, 1e300):
        wanted = float(torch.nn.functional.softplus(torch.tensor(x, dtype=torch.float64), beta=50))
        assert softplus(x, 50.0) == pytest.approx(wanted, rel=1e-12)


def test_gains_multiply_and_squares_count_elements() -> None:
    trace = Trace({"lr": 0.1}, (3, 4))
    p, lr = trace.input("p", Level.ELEMENT), trace.input("lr", Level.HOST)
    assert gain(lr, 2.0) is lr  # outside of a composition nobody listens
    offers = trace.offers = Offers()
    gain(gain(lr, 2.0), 3.0)
    assert offers.gain == 6.0
    assert [repr(x) for x in offers.squares(p)] == ["mul(0.0, size(p))"] * 2
    for level, wanted in ((Level.ELEMENT, "v0"), (Level.ROW, "mul(v1, size(p))"), (Level.TENSOR, "mul(v2, size(p))")):
        second_moment(trace.input(f"v{int(level)}", level))
        assert repr(offers.squares(p)[0]) == wanted
        total(offers.squares(p)[0])


# what methods name ---------------------------------------------------------------------------------------------
def test_there_are_methods_of_every_kind() -> None:
    assert len(DIVIDING) > 20
    assert len(PACED) > 20
    assert set(DIVIDING) - set(PACED)
    assert set(PACED) - set(DIVIDING)
    assert set(RULES) - set(DIVIDING) - set(PACED)
    levels = {offers.second_moment.level for offers in OFFERS.values() if offers.second_moment is not None}
    assert {Level.ELEMENT, Level.TENSOR} <= levels


@pytest.mark.parametrize("name", RULES)
def test_a_method_takes_the_wrappers_for_which_it_offers_something(name: str) -> None:
    for wrapper, taken in ((softplus_wrapper, DIVIDING), (stablewd, PACED)):
        base = RULES[name](parameters())
        for group in base.param_groups:
            if "weight_decay" in group:
                group["weight_decay"] = 0.0
        if name in taken:
            assert wrapper(base).innermost is base
        else:
            with pytest.raises(NotOffered, match=rf"which {RULES[name].__name__} does not have, or not with these"):
                wrapper(base)
            assert base.transforms == ()


def without_eps_and_decay(cls: Any) -> dict[str, Any]:
    wanted = {"eps": 1e-30, "weight_decay": 0.0}
    return {n: x for n, x in wanted.items() if n in cls.hypers and isinstance(cls.hypers[n].default, float)}


@pytest.mark.parametrize("form", ["raw", "debiased"])
@pytest.mark.parametrize("name", [name for name in DIVIDING if name not in NEEDY])
def test_a_sharp_softplus_changes_nothing_and_a_blunt_one_does(name: str, form: str) -> None:
    """A sharp one is the identity, eps aside: so what is named as bare, correction and scale is right."""
    cls, params = RULES[name], parameters()
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


@pytest.mark.parametrize("name", [name for name in PACED if name not in NEEDY])
def test_decay_is_in_proportion_to_the_step_in_the_long_run(name: str) -> None:
    """Under a steady gradient c a step is e c and the decay e weight_decay p, with one e for all elements."""
    cls, c, weight_decay, steps = RULES[name], 0.3, 0.25, 400
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


# around torch's own --------------------------------------------------------------------------------------------
def twins() -> Iterator[Any]:
    """Optimizers of torch that can be read, and the options with which a method of that name does the same."""
    for torch_s in vars(torch.optim).values():
        if not isinstance(torch_s, type) or not reading_of(torch_s):
            continue
        ours = next((cls for name, cls in RULES.items() if normalise(name) == normalise(torch_s.__name__)), None)
        if ours is None:
            continue
        shared = {name: h for name, h in ours.hypers.items() if name in torch_s([Parameter(torch.ones(1))]).defaults}
        flips = [{name: not h.default} for name, h in shared.items() if isinstance(h.default, bool)]
        numbers = [{name: 0.5} for name, h in shared.items() if h.default == 0.0 and type(h.default) is float]
        usual = {"lr": 0.02, **({"weight_decay": 0.0} if "weight_decay" in shared else {})}
        for more in [{}, *flips, *numbers, *(a | b for a, b in itertools.product(flips, numbers))]:
            options = usual | more
            found = ((own, difference(torch_s, ours, options, own)) for own in own_flips(ours, shared))
            alike = next((pair for pair in found if pair[1] < 1e-6), None)
            if alike is not None and not more.get("weight_decay"):
                label = "-".join([torch_s.__name__.lower(), *(f"{k}={v}" for k, v in more.items())])
                yield pytest.param(torch_s, ours, options, alike, id=label)


def own_flips(cls: Any, shared: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield {}
    yield from ({n: not h.default} for n, h in cls.hypers.items() if n not in shared and isinstance(h.default, bool))


def difference(torch_s: Any, ours: Any, options: Mapping[str, Any], own: Mapping[str, Any]) -> float:
    """How far apart they end; inf if there are no such options."""
    params = parameters(), parameters()
    try:
        bases = torch_s(params[0], **options), ours(params[1], **options, **own)
    except (ValueError, OptimCoreError):
        return math.inf
    for base, mine in zip(bases, params, strict=True):
        for t in range(12):
            optim_core.minimize(base, lambda mine=mine, t=t: loss(mine, t))
    return max(float((p - q).detach().abs().max()) for p, q in zip(*params, strict=True))


TWINS = list(twins())
WRAPPERS = [
    pytest.param(softplus_wrapper, {"denominator": "raw"}, id="raw"),
    pytest.param(softplus_wrapper, {"denominator": "debiased", "beta_softplus": 5.0}, id="debiased"),
    pytest.param(stablewd, {"weight_decay": 0.1}, id="stablewd"),
]


def test_torch_s_optimizers_have_twins() -> None:
    readable = {cls.__name__ for cls in vars(torch.optim).values() if isinstance(cls, type) and reading_of(cls)}
    assert {twin.values[0].__name__ for twin in TWINS} == readable
    assert len(TWINS) >= 2 * len(readable)


@pytest.mark.parametrize(("wrapper", "more"), WRAPPERS)
@pytest.mark.parametrize(("torch_s", "ours", "options", "alike"), TWINS)
def test_around_torch_s_as_composed(
    torch_s: Any, ours: Any, options: dict[str, Any], alike: tuple[Any, float], wrapper: Any, more: dict[str, Any]
) -> None:
    ends, refused = [], []
    for base in (lambda params: torch_s(params, **options), lambda params: ours(params, **options, **alike[0])):
        params = parameters()
        half = [{"params": params[:1]}, {"params": params[1:], "lr": 0.01}]
        try:
            ends.append(run(wrapper(base(half), **more), params))
        except NotOffered as conflict:
            refused.append(str(conflict))
    if len(refused) == 1:  # torch keeps what it has divided
        assert options.get("momentum")
        assert refused[0].startswith("SoftplusDenominator")
    elif not refused:
        assert_same(ends[1], ends[0], max(1e-11, 10 * alike[1]))


def scaled(optimizer: Any, params: Sequence[Parameter], steps: int = 5) -> list[Tensor]:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12, growth_interval=2)
    for t in range(steps):
        for bad in (True, False) if t == 2 else (False,):  # an overflow on the way changes nothing
            optimizer.zero_grad()
            scaler.scale(loss(params, t) * (math.inf if bad else 1.0)).backward()
            scaler.step(optimizer)
            scaler.update()
    return [p.detach() for p in params]


@pytest.mark.parametrize(("wrapper", "more"), WRAPPERS)
@pytest.mark.parametrize("base", [torch.optim.Adam, optim_core.get("adam")], ids=["torch", "composed"])
def test_under_a_grad_scaler(base: Any, wrapper: Any, more: dict[str, Any]) -> None:
    first, second = parameters(), parameters()
    plain = wrapper(base(first, lr=0.02), **more)
    for t in range(5):
        plain.minimize(lambda t=t: loss(first, t))
    assert_same(scaled(wrapper(base(second, lr=0.02), **more), second), [p.detach() for p in first], 1e-11)


@pytest.mark.parametrize("base", [torch.optim.Adam, optim_core.get("adam")], ids=["torch", "composed"])
def test_the_mean_is_over_all_groups_and_late_gradients_join(base: Any) -> None:
    params = [Parameter(torch.full((2,), 2.0).double()), Parameter(torch.full((4,), 2.0).double())]
    groups = [{"params": params[:1], "lr": 0.0}, {"params": params[1:], "lr": 0.1}]
    optimizer = stablewd(base(groups, betas=(0.0, 0.5), eps=0.0), weight_decay=0.3)
    optimizer.minimize(lambda: 4 * params[1].sum())
    p = 2 * (1 - 0.1 * 0.3 / 4) - 0.1  # r = 4; Adam's first step is lr
    assert params[1].tolist() == pytest.approx([p] * 4)
    optimizer.minimize(lambda: params[0].sum() + 4 * params[1].sum())
    r = math.sqrt((2 * 1 + 4 * 16) / 6)
    assert params[1].tolist() == pytest.approx([p * (1 - 0.1 * 0.3 / r) - 0.1] * 4)
    assert params[0].tolist() == [2.0, 2.0]


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
    assert set(DIVIDING) <= set(listed)
    assert not set(PACED) - set(DIVIDING) & set(listed)
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


@pytest.mark.parametrize("name", [name for name in DIVIDING if RULES[name](parameters()).stacks()])
def test_the_denominator_is_reached_past_a_transform_that_works_on_copies(name: str) -> None:
    # by the norm over all parameters, so around this rule on copies
    clip = functools.partial(optim_core.get_wrapper("clip"), max_norm=0.5)
    ends = []
    for order in ((clip,), (softplus_wrapper, clip), (clip, softplus_wrapper)):
        params = parameters()
        optimizer = RULES[name](params)
        for wrapper in order:
            optimizer = wrapper(optimizer)
        ends.append(run(optimizer, params))
    assert_same(ends[2], ends[1])
    assert any(not torch.allclose(x, y) for x, y in zip(ends[0], ends[1], strict=True))
