"""Transform wrappers: composed with a rule, by every engine, and around any other optimizer, the numbers are the same.

Wrappers, their options and the rules come from the registry; what applies follows from what they declare.
"""

from __future__ import annotations

import copy
import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from support.methods import matrix_optimizers, optimizers, wrappers
from support.small import assert_same, copies, equal, finite
from support.wrappers import around, option_variants, required_options, torch_base
from torch import Tensor
from torch.nn import Parameter

import optim_core
from optim_core.catalog.registry import load_class
from optim_core.errors import InvalidOption, SparseGradient, UnsupportedParameter, WrapperConflict
from optim_core.rules import Level, Trace
from optim_core.rules.arithmetic import REDUCTIONS
from optim_core.rules.compose import Buffer, compose
from optim_core.rules.graph import Graph
from optim_core.rules.options import scalars, split
from optim_core.wrapping import TransformWrapper

NAMES = [spec.name for spec in wrappers() if issubclass(optim_core.get_wrapper(spec.name), TransformWrapper)]
CASES = [
    pytest.param(name, options, id="-".join([name, *(f"{key}={value}" for key, value in options.items())]))
    for name in NAMES
    for options in option_variants(optim_core.get_wrapper(name))
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Rules are traced when tests are collected, not when this module is imported."""
    if "settings" in metafunc.fixturenames:
        metafunc.parametrize(("cls", "settings"), rules())
    if "stacking" in metafunc.fixturenames:
        metafunc.parametrize("stacking", stacking())


each_wrapper = pytest.mark.parametrize("name", NAMES)
each_case = pytest.mark.parametrize(("name", "options"), CASES)

SHAPES = ((4, 2, 3, 3), (3, 16), (5, 1), (2, 3, 4), (3,), (2,), (1,), ())


def parameters(dtype: torch.dtype = torch.float64) -> list[Parameter]:
    values = [torch.sin(1.7 * torch.arange(math.prod(shape)) + i).double() for i, shape in enumerate(SHAPES)]
    return [Parameter(x.reshape(shape).to(dtype)) for x, shape in zip(values, SHAPES, strict=True)]


def loss(params: Sequence[Tensor], t: int) -> Tensor:
    """Every element is pulled somewhere else, and across: updates and gradients disagree now and then."""
    pulls = [(p - math.cos(2.0 * t + i)).square() * (1 + 0.5 * torch.sin(p + t)) for i, p in enumerate(params)]
    return torch.stack([pull.sum() for pull in pulls]).sum()


def run(optimizer: Any, params: Sequence[Tensor], steps: int = 6) -> list[Tensor]:
    """Steps under a schedule, in which one parameter has no gradient at first."""
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)
    for t in range(steps):
        present = list(params)[1 if t < 2 else 0 :]
        optim_core.minimize(optimizer, lambda present=present, t=t: loss(present, t))
        scheduler.step()
    return [p.detach() for p in params]


def groups(params: Sequence[Tensor], **second: float) -> list[dict[str, Any]]:
    return [{"params": params[::2]}, {"params": params[1::2], **second}]


# which rules ---------------------------------------------------------------------------------------------------
def traced(cls: Any, options: Mapping[str, Any]) -> tuple[Graph, Sequence[Buffer]]:
    """The graph of a method for a matrix, and the buffers that its rule takes."""
    optimizer = cls([Parameter(torch.ones(2, 2))], **options)
    numbers = {"step": 1, "first": 1.0, "whole_step": 1, "largest_lr": 0.1}
    group = {name: optimizer.param_groups[0][name] for name in cls.hypers} | numbers
    host, _ = split(group)
    trace = Trace(host, (2, 2))
    method = cls.method
    buffers = method.buffers(group, (2, 2), frozenset())
    graph = compose(
        method.rule, trace, buffers, scalars(group, trace), method.keywords, method.composition_settings(group, ())
    )
    return graph, buffers


def kinds(cls: Any, options: Mapping[str, Any]) -> frozenset[str]:
    """What is special about a rule."""
    graph, buffers = traced(cls, options)
    over = {v.level for v in graph.values if v.op in REDUCTIONS and v.op != "size"}
    found = {f"reduces to {level.name}" for level in over}
    found |= {f"state on {b.level.name}" for b in buffers if b.level is not Level.ELEMENT}
    found |= {"sampled"} if any(v.every > 1 for v in graph.values) else set()
    return frozenset(found or {"elementwise"})


@functools.cache
def rules() -> list[Any]:
    """One method for each combination of special things, and those that sample."""
    chosen: dict[frozenset[str], Any] = {}
    for spec in optimizers():
        cls = load_class(spec)
        if spec.needs or traced(cls, {})[0].trace.calls:
            continue
        sampling = {s.every: 3 for s in cls.states.values() if s.every}
        for options in ({}, sampling) if sampling else ({},):
            found = kinds(cls, options)
            label = f"{spec.name} ({', '.join(sorted(found))})"
            chosen.setdefault(found, pytest.param(cls, options, id=label))
    return list(chosen.values())


def stacking() -> list[Any]:
    """Methods on stacks of matrices that decay weights."""
    found = {name: load_class(optim_core.info(name)) for name in matrix_optimizers()}
    return [pytest.param(cls, id=name) for name, cls in found.items() if "weight_decay" in cls.hypers]


def test_the_rules_are_of_every_kind() -> None:
    text = " ".join(str(rule.id) for rule in rules())
    assert len(rules()) >= 5
    for kind in ("elementwise", "reduces to TENSOR", "reduces to WHOLE", "state on TENSOR", "sampled"):
        assert kind in text


# engines -------------------------------------------------------------------------------------------------------
@each_case
def test_engines_agree(cls: Any, settings: Mapping[str, Any], name: str, options: Mapping[str, Any]) -> None:
    def end(nudge: float = 0.0, **how: Any) -> list[Tensor]:
        params = parameters()
        with torch.no_grad():
            for p in params:
                p.mul_(1 + nudge)
        base = cls(groups(params), **settings, **how)
        try:
            optimizer = around(base, name, **options)
        except WrapperConflict as conflict:  # it says what it needs
            pytest.skip(str(conflict))
        return run(optimizer, params)

    usual, lists, native = end(foreach=False), end(foreach=True), end(engine="native")
    assert finite(usual)
    assert_same(lists, usual)
    if apart(native, usual) > 1e-12:  # some divide by next to nothing, and magnify the last bit of where they begin
        nudged = (end(k * torch.finfo(torch.float64).eps, foreach=False) for k in (-2, -1, 1, 2))
        assert apart(native, usual) < 3 * max(apart(other, usual) for other in nudged)


def apart(x: Sequence[Tensor], y: Sequence[Tensor]) -> float:
    """The largest difference, as a share of the largest element of its tensor."""
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(x, y, strict=True))


# around other optimizers ---------------------------------------------------------------------------------------
def pairs() -> dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], bool]]:
    """An optimizer of torch and its twin, and whether they add L2 to the gradient."""

    def both(name: str, **options: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any], bool]:
        makers = optim_core.get(f"torch:{name}"), optim_core.get(name)
        first, second = (lambda params, make=make: make(groups(params, lr=0.02), **options) for make in makers)
        return first, second, bool(options.get("weight_decay")) and name == "sgd"

    return {
        "adamw": both("adamw", lr=0.05),
        "adamw decaying more": both("adamw", lr=0.05, weight_decay=0.5),
        "adam ascending": both("adam", lr=0.05, maximize=True),
        "sgd": both("sgd", lr=0.05, momentum=0.9, nesterov=True),
        "sgd with L2": both("sgd", lr=0.05, momentum=0.9, weight_decay=0.3),
    }


PAIRS = pairs()


@each_case
@pytest.mark.parametrize(("torch_s", "ours", "l2"), PAIRS.values(), ids=PAIRS)
def test_composed_equals_around(torch_s: Any, ours: Any, l2: bool, name: str, options: Mapping[str, Any]) -> None:
    ends = []
    for make in (ours, torch_s):
        params = parameters()
        try:
            optimizer = around(make(params), name, **options)
        except WrapperConflict as conflict:  # it says what it needs
            pytest.skip(str(conflict))
        if l2 and optimizer.transform().after_l2:
            pytest.skip("torch adds L2 inside its step, after the transform")
        ends.append(run(optimizer, params))
    assert_same(ends[1], ends[0])


@each_wrapper
def test_each_changes_the_steps_of_some_method(name: str) -> None:
    def end(ours: Any, options: Mapping[str, Any], *, wraps: bool) -> list[Tensor]:
        decays = [group["weight_decay"] for group in around(ours(parameters()), name, **options).param_groups]
        params = parameters()
        base = ours(params)
        for group, weight_decay in zip(base.param_groups, decays, strict=True):
            group["weight_decay"] = weight_decay
        return run(around(base, name, **options) if wraps else base, params)

    cls = optim_core.get_wrapper(name)
    telling = {option: h.examples[0] for option, h in cls.hypers.items() if h.examples}
    ways = [required_options(cls) | telling, *(case.values[1] for case in CASES if case.values[0] == name)]
    makers = [ours for _, ours, _ in PAIRS.values()]
    found = itertools.product(makers, ways)
    assert any(not equal(end(*each, wraps=True), end(*each, wraps=False)) for each in found)


@pytest.mark.parametrize("names", list(itertools.permutations(NAMES, 2)), ids="+".join)
def test_two_of_them_in_either_order(names: Sequence[str]) -> None:
    ends = []
    for make in PAIRS["adamw"][:2]:
        params = parameters()
        base = make(params)
        try:
            for name in names:
                base = around(base, name)
        except WrapperConflict as conflict:
            if "cannot be reached past the rules around it" not in str(conflict):
                raise
            pytest.skip(str(conflict))
        ends.append(run(base, params))
    assert_same(ends[1], ends[0])


def test_what_cannot_be_reached_past_a_rule_around_torch_s_is_refused() -> None:
    base = around(torch.optim.AdamW(parameters(), lr=0.1), "cautious")
    text = "SoftplusDenominator changes what AdamW divides by, which cannot be reached past the rules around it: put"
    with pytest.raises(WrapperConflict, match=text):
        optim_core.get_wrapper("softplus")(base)


def test_the_rules_hand_on_what_the_next_ones_go_by() -> None:
    """Only those that are refused are skipped."""
    for inner, outer in (("gc", "cautious"), ("decay", "cautious"), ("magma", "cautious"), ("soda", "decay")):
        around(around(torch.optim.AdamW(parameters(), lr=0.1, weight_decay=0.0), inner), outer)


BETWEEN = [s.name for s in wrappers() if s.name not in NAMES and "multi_loss" not in s.needs]


@each_wrapper
@pytest.mark.parametrize("between", BETWEEN)
def test_around_other_wrappers(name: str, between: str) -> None:
    ends = []
    for make in PAIRS["adamw"][:2]:
        params = parameters()
        wants_names = "named_params" in optim_core.info(between).needs
        base = make([(f"layer{i}.weight", p) for i, p in enumerate(params)] if wants_names else params)
        optimizer = around(around(base, between), name)
        others, twin = copy.deepcopy((params, optimizer))
        ends.append(run(optimizer, params))
        assert_same(run(twin, others), ends[-1])
    assert_same(ends[1], ends[0])


@each_wrapper
def test_gradients_are_put_back(name: str) -> None:
    class Failing(torch_base(name)):  # type: ignore[misc]
        def step(self, closure: Any = None) -> Any:
            super().step(closure)
            raise RuntimeError("a full disk")

    params = parameters()
    optimizer = around(Failing(params, lr=0.1), name)
    loss(params, 0).backward()
    before = [(p.grad, p.grad.clone()) for p in params]
    with pytest.raises(RuntimeError, match="a full disk"):
        optimizer.step()
    assert all(p.grad is g and torch.equal(g, kept) for p, (g, kept) in zip(params, before, strict=True))


@each_wrapper
def test_sparse_gradients_are_refused_before_anything_is_changed(name: str) -> None:
    embedding, params = torch.nn.Embedding(4, 3, sparse=True), parameters()
    optimizer = around(torch_base(name)([*params, *embedding.parameters()], lr=0.1), name)
    before = copies(params)
    with pytest.raises(SparseGradient):
        optimizer.minimize(lambda: loss(params, 0) + embedding(torch.tensor([1, 2])).square().sum())
    assert equal(params, before)


@each_case
@pytest.mark.parametrize("make", PAIRS["adamw"][:2], ids=["torch", "composed"])
def test_edge_cases(make: Any, name: str, options: Mapping[str, Any]) -> None:
    params = [*parameters(), Parameter(torch.zeros(3, 0)), Parameter(torch.zeros(4))]
    try:
        optimizer = around(make(params), name, **options)
    except WrapperConflict as conflict:
        pytest.skip(str(conflict))
    before = copies(params)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    optimizer.minimize(lambda: loss(params, 0))
    assert equal(params, before)
    optimizer.minimize(lambda: 0 * loss(params, 0))
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    for t in range(3):
        optimizer.minimize(lambda t=t: 0 * loss(params, t))
    assert finite(params)


@each_wrapper
@pytest.mark.parametrize("make", PAIRS["adamw"][:2], ids=["torch", "composed"])
def test_low_precision_and_layouts(make: Any, name: str) -> None:
    low = parameters(torch.bfloat16)
    run(around(make(low), name), low)
    assert finite(low)
    plain, other = parameters(), parameters()
    other[0] = Parameter(other[0].detach().to(memory_format=torch.channels_last))
    other[1] = Parameter(other[1].detach().t().contiguous().t())
    ends = [run(around(make(params), name), params) for params in (plain, other)]
    assert_same(ends[1], ends[0])


@each_wrapper
def test_complex_parameters(name: str) -> None:
    ends = []
    for make in PAIRS["adamw"][:2]:
        params = [Parameter(torch.tensor([1 + 1j, 2 - 1j], dtype=torch.complex128)) for _ in range(2)]
        if optim_core.get_wrapper(name).real_only:
            with pytest.raises(UnsupportedParameter, match=r"works on real parameters"):
                around(make(params), name)
            return
        optimizer = around(make(params), name)
        for _ in range(4):
            optimizer.minimize(lambda params=params: torch.stack([(p - 3).abs().square().sum() for p in params]).sum())
        ends.append([torch.view_as_real(p.detach()) for p in params])
    assert_same(ends[1], ends[0])


@each_wrapper
def test_methods_on_stacks_of_matrices(stacking: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = []
    for _ in range(2):
        params = parameters()
        torch.manual_seed(0)  # the same draws each time
        optimizer = around(stacking(params, lr=0.01, weight_decay=0.1), name)
        ends.append(run(optimizer, params))
        if (
            optimizer.transform().after_l2
            and optimizer.innermost.method.composition_settings(optimizer.param_groups[0], ()).decay == "l2"
        ):
            break
        monkeypatch.setattr("optim_core.wrapping.bases.sums", lambda *_: True)  # as if there were a total: on copies
    assert finite(ends[0])
    assert any(not torch.equal(p, q) for p, q in zip(ends[0], parameters(), strict=True))
    for x, y in zip(ends[-1], ends[0], strict=True):  # roots of matrices magnify what rounding leaves
        torch.testing.assert_close(x, y, rtol=1e-8, atol=1e-8)


# by themselves -------------------------------------------------------------------------------------------------
BASES: dict[str, Callable[[Any], Any]] = {
    "torch sgd": lambda params: torch.optim.SGD(params, lr=0.1, weight_decay=0.1),
    "torch rmsprop": lambda params: torch.optim.RMSprop(params, lr=0.01),
    "torch adagrad": lambda params: torch.optim.Adagrad(params, lr=0.1),
    "sgd": lambda params: optim_core.get("sgd")(params, lr=0.1, momentum=0.9, weight_decay=0.1),
    "adan": lambda params: optim_core.get("adan")(params, lr=0.01),
    "prodigy": optim_core.get("prodigy"),
    "shampoo": lambda params: optim_core.get("shampoo")(params, lr=0.1),
}


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_clipping_is_torch_s(base: Any) -> None:
    ends = []
    for wrapped in (False, True):
        params = parameters()
        optimizer: Any = base(params)
        if wrapped:
            optimizer = optim_core.get_wrapper("clip")(optimizer, max_norm=0.7, clip_value=0.2)
        for t in range(5):
            optimizer.zero_grad()
            loss(params, t).backward()
            if not wrapped:
                torch.nn.utils.clip_grad_value_(params, 0.2)
                assert torch.nn.utils.clip_grad_norm_(params, 0.7) > 0.7
            optimizer.step()
        ends.append([p.detach() for p in params])
    assert_same(ends[1], ends[0])


@pytest.mark.parametrize(("method", "decoupled"), [("adamw", True), ("lion", True), ("adam", False), ("sgd", False)])
def test_decay_is_the_methods_own(method: str, decoupled: bool) -> None:
    params, others = parameters(), parameters()
    wanted = run(optim_core.get(method)(params, lr=0.05, weight_decay=0.3), params)
    plain = optim_core.get(method)(others, lr=0.05, weight_decay=0.0)
    got = run(optim_core.get_wrapper("decay")(plain, weight_decay=0.3, decoupled=decoupled), others)
    assert equal(got, wanted)


def test_what_is_refused_says_what_to_do() -> None:
    params = parameters()
    decay, clip, cautious, normloss = map(optim_core.get_wrapper, ("decay", "clip", "cautious", "normloss"))
    with pytest.raises(WrapperConflict, match=r"AdamW has weight_decay=0\.01: give it weight_decay=0, or leave this"):
        decay(torch.optim.AdamW(params))
    optimizer = decay(optim_core.get("adamw")(params[:1], weight_decay=0))
    with pytest.raises(WrapperConflict, match=r"AdamW has weight_decay=0\.2"):
        optimizer.add_param_group({"params": params[1:], "weight_decay": 0.2})
    assert len(optimizer.param_groups) == 1
    with pytest.raises(InvalidOption, match=r"no bound: give it max_norm .* clip_value"):
        clip(torch.optim.SGD(params, lr=0.1))
    with pytest.raises(WrapperConflict, match=r"use optim_core\.get\('adamw'\), or leave eps_mode at 'base'"):
        cautious(torch.optim.AdamW(params), eps_mode="hf")
    lacking = torch.optim.SGD(params, lr=0.1)
    lacking.param_groups[0]["lr"] = None
    for make in (decay, normloss):
        with pytest.raises(WrapperConflict, match=r"goes by the learning rate, but SGD has lr=None: give it a number"):
            make(lacking)
    assert decay(lacking, decoupled=False).options["weight_decay"] == 0.01


def test_matrices_only() -> None:
    for name in ("decay", "normloss"):
        params = parameters()
        before = copies(params)
        optimizer = optim_core.get_wrapper(name)(torch.optim.SGD(params, lr=0.1), matrices_only=True)
        optimizer.minimize(lambda params=params: 0 * loss(params, 0))
        for p, q in zip(params, before, strict=True):
            assert torch.equal(p, q) == (p.ndim < 2)
