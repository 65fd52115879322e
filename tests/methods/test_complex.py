"""Complex parameters: a method asks them, not their pairs of real numbers, for dimensions, rows and elements.

So one without imaginary parts goes the way of a real one. What holds for real parameters alone is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from support.methods import optimizers, wrappers
from support.small import copies, equal
from support.wrappers import around, needs_only_a_base
from torch import Tensor
from torch.nn import Parameter

import optim_core
from optim_core import RuleOptimizer, hyper, state
from optim_core.catalog.specs import OptimizerSpec, Spec
from optim_core.errors import EngineUnavailable, UnsupportedParameter
from optim_core.rules import Trace, Value, centred, mean, norm, size, stacked
from optim_core.rules.values import ComplexShape, Level
from optim_core.wrapping import TransformWrapper

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")

SPECS = optimizers()
SHAPES = ((), (1,), (5,), (3, 4), (4, 1), (1, 4), (4, 2, 3, 3))
#: Ways of the engines that are always there; a compiler may be missing for the last.
RUNS: dict[str, dict[str, Any]] = {
    "one-by-one": {"engine": "eager", "foreach": False},
    "lists": {"engine": "eager", "foreach": True},
    "native": {"engine": "native"},
}
each_method = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
each_run = pytest.mark.parametrize("how", RUNS.values(), ids=RUNS)


def values(shape: Sequence[int], phase: float = 0.0) -> Tensor:
    k = torch.arange(math.prod(shape), dtype=torch.float64)
    return (0.7 + 0.5 * torch.sin(1.7 * k + phase)).reshape(tuple(shape))


def twins(shape: Sequence[int]) -> tuple[Parameter, Parameter]:
    """A real parameter, and a complex one of the same numbers."""
    x = values(shape)
    return Parameter(x.clone()), Parameter(torch.complex(x, torch.zeros_like(x)))


def loss_of(params: Sequence[Tensor]) -> Callable[[], Tensor]:
    """A loss of the real parts; gradients are largest where rows begin."""

    def loss() -> Tensor:
        parts = [p.real if p.is_complex() else p for p in params]
        return torch.stack([((x - 2) ** 2 * values(x.shape, 1)).sum() + x.cosh().sum() for x in parts]).sum()

    return loss


def taken(cls: Any, **options: Any) -> list[tuple[int, ...]]:
    """The shapes in which a method takes complex parameters."""
    found = []
    for shape in SHAPES:
        try:
            cls([twins(shape)[1]], **options)
        except UnsupportedParameter:
            continue
        found.append(shape)
    return found


def assert_twins(real: Sequence[Tensor], complex_: Sequence[Tensor]) -> None:
    for a, b in zip(real, complex_, strict=True):
        torch.testing.assert_close(b.detach().real, a.detach(), rtol=1e-9, atol=1e-12, equal_nan=True)
        assert not b.detach().imag.any()


def is_random(optimizer: Any) -> bool:
    """Whether it has drawn at random: for twice as many numbers it draws others."""
    return bool(optimizer.param_groups[0].get("draws"))


def minds_zeros(cls: Any) -> bool:
    """Whether numbers that are zero and stay so change what becomes of others, as in a mean over the whole model."""
    ends = []
    for zeros in ([], [Parameter(torch.zeros(3, 4, dtype=torch.float64))]):
        p = twins((3, 4))[0]
        optimizer = cls([p, *zeros])
        for _ in range(4):
            optimizer.minimize(lambda p=p, zeros=zeros: loss_of([p])() + sum(0 * z.sum() for z in zeros))
        ends.append(p.detach())
    return not torch.allclose(*ends, rtol=1e-9, atol=1e-12, equal_nan=True)


@pytest.fixture
def shares(monkeypatch: pytest.MonkeyPatch) -> list[Value]:
    """The conditions of which a mean is taken: a share of all numbers, imaginary parts among them."""
    found = []
    reduce = Trace.reduce

    def recorded(trace: Trace, op: str, level: Level, *operands: Value) -> Value:
        if op == "mean" and operands[0].is_mask:
            found.append(operands[0])
        return reduce(trace, op, level, *operands)

    monkeypatch.setattr(Trace, "reduce", recorded)
    return found


# methods -------------------------------------------------------------------------------------------------------
@each_method
def test_states_are_those_of_a_real_parameter(spec: OptimizerSpec) -> None:
    cls: Any = optim_core.get(spec.name)
    for shape in taken(cls):
        a, b = twins(shape)
        real, complex_ = cls([a]), cls([b])
        real.minimize(loss_of([a]))
        complex_.minimize(loss_of([b]))
        assert complex_.state[b].keys() == real.state[a].keys()
        for name, declared in cls.method.states.items():
            mine, theirs = complex_.state[b].get(name), real.state[a].get(name)
            for x, y in zip(*(z if isinstance(z, list) else [z] for z in (mine, theirs)), strict=True):
                if y is None:
                    assert x is None
                else:
                    assert x.shape == paired(y, a, declared.level_in(real.param_groups[0])), name


def paired(x: Tensor, p: Tensor, level: Level) -> tuple[int, ...]:
    """The shape of a state, with the dimension of pairs."""
    if level is Level.ELEMENT and x.shape != p.shape:  # one number for some of the parameter's
        return (-(-2 * p.numel() // -(-p.numel() // x.numel())),)
    return (*x.shape, 2) if level is Level.ELEMENT else (*x.shape, 1) if level is Level.ROW else tuple(x.shape)


@each_run
@each_method
def test_one_without_imaginary_parts_goes_the_way_of_a_real_one(
    spec: OptimizerSpec, how: dict[str, Any], shares: list[Value]
) -> None:
    cls: Any = optim_core.get(spec.name)
    pairs = [twins(shape) for shape in taken(cls)]
    if not pairs:
        pytest.skip("refused in every shape")
    real, complex_ = ([pair[k] for pair in pairs] for k in range(2))
    optimizers = [cls(params, **how) for params in (real, complex_)]
    if is_random(optimizers[0]) or minds_zeros(cls):
        pytest.skip("what becomes of a number depends on how many others there are")
    for _ in range(6):
        try:
            for optimizer, params in zip(optimizers, (real, complex_), strict=True):
                optimizer.minimize(loss_of(params))
        except EngineUnavailable as error:
            pytest.skip(str(error))
    if is_random(optimizers[0]):
        pytest.skip("it draws at random")
    if shares:
        pytest.skip("it goes by the share of numbers")
    assert_twins(real, complex_)


@each_method
def test_element_by_element_pairs_are_two_real_numbers(spec: OptimizerSpec) -> None:
    """As torch treats them, too."""
    cls: Any = optim_core.get(spec.name)
    any_of_it = cls([Parameter(torch.ones(2))])
    if any_of_it.reach(any_of_it.param_groups[0]) > Level.ELEMENT:
        pytest.skip("it asks for more than the element")
    complex_ = [Parameter(torch.complex(values(shape), values(shape, 2))) for shape in SHAPES]
    real = [Parameter(torch.view_as_real(p.detach()).clone()) for p in complex_]
    optimizers = [cls(params) for params in (complex_, real)]
    if is_random(optimizers[0]):
        pytest.skip("it draws at random")
    for _ in range(4):
        for optimizer, params in zip(optimizers, (complex_, real), strict=True):
            views = [torch.view_as_real(p) if p.is_complex() else p for p in params]
            optimizer.minimize(loss_of(views))
    if is_random(optimizers[0]):
        pytest.skip("it draws at random")
    for p, q in zip(complex_, real, strict=True):
        torch.testing.assert_close(torch.view_as_real(p.detach()), q.detach(), rtol=1e-12, atol=0, equal_nan=True)


@each_method
def test_what_does_not_hold_for_complex_parameters_is_refused(spec: OptimizerSpec) -> None:
    cls: Any = optim_core.get(spec.name)
    fine = taken(cls)
    for shape in SHAPES:
        if shape in fine:
            continue
        p, q = twins(shape)[1], Parameter(torch.ones(2))
        optimizer = cls([q])
        assert optimizer.reach(optimizer.param_groups[0]) > Level.ELEMENT
        before = copies([p])
        with pytest.raises(UnsupportedParameter, match=r"complex: keep complex ones in an optimizer of their own"):
            optimizer.add_param_group({"params": [p]})
        assert len(optimizer.param_groups) == 1
        assert p not in optimizer.state
        assert equal(before, [p])
        optim_core.get("adamw")([p]).minimize(loss_of([p]))  # the remedy


# rules ---------------------------------------------------------------------------------------------------------
class Asking(RuleOptimizer):
    """Steps made of what a rule may ask for."""

    every_way: bool = hyper(True, "so that there is an option")

    largest = state("norm of each row", level="row")
    whole = state("norm", level="tensor")

    @staticmethod
    def rule(p: Value, g: Value, largest: Value, whole: Value) -> tuple[Value, ...]:
        dimensions, single = p.ndim, p.row_size == 1
        rms = mean(g * g, over="row") + size(g, over="row")
        share = mean(g > 0)
        step = norm(g, over="row") + rms + 3 * mean(g * g) + 5 * size(g) + 7 * dimensions + 11 * single + 13 * share
        return p - step, largest + norm(g, over="row"), whole + norm(g)


@each_run
@pytest.mark.parametrize("shape", SHAPES)
def test_rules_count_complex_numbers(shape: tuple[int, ...], how: dict[str, Any]) -> None:
    p = Parameter(torch.complex(values(shape), values(shape, 2)))
    g = torch.complex(values(shape, 3), -values(shape, 4))
    optimizer = Asking([p], **how)
    start = p.detach().clone()
    p.grad = g.clone()
    try:
        optimizer.step()
    except EngineUnavailable as error:
        pytest.skip(str(error))
    rows = g.reshape(len(g) if g.ndim else 1, -1)
    n = rows.shape[1]
    norms = rows.norm(dim=1)
    step = norms + norms**2 / n + n + 3 * g.abs().square().mean() + 5 * g.numel() + 7 * g.ndim + 11 * (n == 1) + 13 / 2
    step = step.reshape((*g.shape[:1], *(1 for _ in g.shape[1:])))
    expected = start - torch.complex(step, step)
    torch.testing.assert_close(p.detach(), expected)
    torch.testing.assert_close(optimizer.state[p]["largest"].flatten(), norms)
    torch.testing.assert_close(optimizer.state[p]["whole"], g.abs().square().sum().sqrt())


@each_run
def test_real_and_complex_parameters_side_by_side(how: dict[str, Any]) -> None:
    pairs = [twins(shape) for shape in ((3, 4), (5,))]
    together, alone = [p for pair in pairs for p in pair], [p for pair in map(copies, pairs) for p in pair]
    alone = [Parameter(p) for p in alone]
    optimizer, single = optim_core.get("adamp")(together, **how), [optim_core.get("adamp")([p], **how) for p in alone]
    for _ in range(3):
        try:
            optimizer.minimize(loss_of(together))
            for p, one in zip(alone, single, strict=True):
                one.minimize(loss_of([p]))
        except EngineUnavailable as error:
            pytest.skip(str(error))
    for p, q in zip(together, alone, strict=True):
        torch.testing.assert_close(p.detach(), q.detach())


def test_a_graph_of_real_parameters_serves_no_complex_ones_where_that_matters() -> None:
    trace = Trace({}, (2, 3))
    g = trace.input("g", Level.ELEMENT)
    assert trace.fits(ComplexShape((2, 3)))
    mean(g)
    assert trace.fits((4, 5))
    assert not trace.fits(ComplexShape((4, 5)))


@pytest.mark.parametrize("word", [centred, stacked("element")(lambda x: x)], ids=["centred", "stacked"])
def test_words_for_real_parameters_alone(word: Any) -> None:
    word(Trace({}, (2, 3)).input("g", Level.ELEMENT))
    with pytest.raises(UnsupportedParameter, match=r"is for real parameters, and one of shape \(2, 3\) is complex"):
        word(Trace({}, ComplexShape((2, 3))).input("g", Level.ELEMENT))


# wrappers ------------------------------------------------------------------------------------------------------
WRAPPERS = [s for s in wrappers() if needs_only_a_base(optim_core.get_wrapper(s.name)) and "multi_loss" not in s.needs]


@pytest.mark.parametrize("base", ["adamw", "torch:adamw"])
@pytest.mark.parametrize("spec", WRAPPERS, ids=lambda spec: spec.name)
def test_wrappers_go_the_same_way(spec: Spec, base: str, shares: list[Value]) -> None:
    pairs = [twins(shape) for shape in SHAPES]
    ends = []
    for k in range(2):
        params = [pair[k] for pair in pairs]
        named = [(f"p{i}", p) for i, p in enumerate(params)]
        inner = optim_core.get(base)(named, lr=0.02)
        wrapper: Any = optim_core.get_wrapper(spec.name)
        if k and issubclass(wrapper, TransformWrapper) and wrapper.real_only:
            with pytest.raises(UnsupportedParameter, match=r"works on real parameters"):
                around(inner, spec.name)
            return
        if wrapper.estimates:
            pytest.skip("it draws at random")
        torch.manual_seed(0)
        optimizer = around(inner, spec.name)
        for _ in range(5):
            optimizer.minimize(loss_of(params))
        if shares:
            pytest.skip("it goes by the share of numbers")
        ends.append(params)
    assert_twins(*ends)
