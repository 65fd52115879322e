"""The native engine: which tensors it takes, that it is right about them, and when it is chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.random_graphs import RECIPES, SHAPES, Recipe, assert_alike, stepped, tensors
from support.small import assert_close, equal
from support.training import engine_of, parameters, set_gradients, trained
from torch import Tensor
from torch.nn import Parameter

import optim_core
from optim_core import RuleOptimizer, hyper, state
from optim_core.engines.native import kernel
from optim_core.errors import EngineUnavailable, InvalidOption
from optim_core.rules import Value, maximum, mean, norm, sample, square, total


class Everything(RuleOptimizer):
    """Values on all levels: a bit of everything that an engine must get right."""

    lr: float = hyper(0.1, "step size", ge=0)
    every: int = hyper(2, "portion of elements that is sampled", ge=1)

    exp_avg = state("average of g")
    row = state("average size of rows", level="row")
    tensor = state("average norm", level="tensor")
    some = state("some of the elements", every="every")
    whole = state("total so far", level="whole")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        row: Value,
        tensor: Value,
        some: Value,
        whole: Value,
        *,
        lr: Value,
        every: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        seen = total(square(sample(g, every)))
        exp_avg = 0.9 * exp_avg + 0.1 * g
        row = 0.5 * row + norm(exp_avg, over="row")
        tensor = 0.5 * tensor + norm(exp_avg / (1 + row)) + mean(row)
        some = some + sample(p * g, every)
        u = exp_avg / (1 + row + tensor) * (1 - 0.5**step)
        return p - lr * u / maximum(1.0, seen + whole), exp_avg, row, tensor, some, whole + seen


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of some twenty elements then go through everything that large ones do."""
    monkeypatch.setattr(kernel, "CHUNK", 4)
    monkeypatch.setattr(kernel, "BATCH", 16)


@pytest.fixture(params=["usual", "small chunks"])
def chunks(request: pytest.FixtureRequest) -> None:
    if request.param == "small chunks":
        request.getfixturevalue("small_chunks")


# right --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_all_levels_agree_with_eager(dtype: torch.dtype, chunks: None) -> None:
    mine, theirs = parameters(dtype), parameters(dtype)
    native = trained(lambda ps: Everything(ps, engine="native"), mine)
    eager = trained(lambda ps: Everything(ps, engine="eager"), theirs)
    rtol = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2**-7, torch.float16: 2**-10}[dtype]
    assert_close(mine, theirs, rtol)
    for p, q in zip(mine, theirs, strict=True):
        for name, x in native.state[p].items():
            if isinstance(x, Tensor):
                torch.testing.assert_close(x, eager.state[q][name], rtol=min(rtol, 1e-5), atol=min(rtol, 1e-5))
    torch.testing.assert_close(native.whole["whole"], eager.whole["whole"], rtol=1e-6, atol=0)
    assert engine_of(native) == {"native"}
    assert engine_of(eager) == {"eager"}


@pytest.mark.usefixtures("small_chunks")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.integers(0, 4), max_size=4).map(tuple), min_size=1, max_size=5),
    st.integers(1, 5),
    st.sampled_from([torch.float64, torch.float32]),
)
def test_any_shapes_agree_with_eager(shapes: list[tuple[int, ...]], every: int, dtype: torch.dtype) -> None:
    mine, theirs = parameters(dtype, *shapes), parameters(dtype, *shapes)
    trained(lambda ps: Everything(ps, every=every, engine="native"), mine)
    trained(lambda ps: Everything(ps, every=every, engine="eager"), theirs)
    assert_close(mine, theirs, 1e-12 if dtype is torch.float64 else 1e-5)


@pytest.mark.usefixtures("small_chunks")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(RECIPES, SHAPES, st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16]))
def test_random_graphs_agree_with_eager(recipe: Recipe, shapes: Any, dtype: torch.dtype) -> None:
    real = torch.float64 if dtype is torch.float64 else torch.float32
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 2e-3}[dtype]
    buffers = tensors(shapes, {"p": dtype, "g": dtype, "states": real}, seed=len(recipe.words))
    wanted = stepped(recipe.graph(), buffers, real, "eager")
    assert_alike(stepped(recipe.graph(), buffers, real, "native"), wanted, tolerance)


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            params = parameters(torch.float32, (300, 500), (40,), (200, 300))
            trained(lambda ps: Everything(ps, engine="native"), params)
            results.append(params)
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert equal(results[0], other)


def test_channels_last_stays_so_and_is_right(chunks: None) -> None:
    first = parameters(torch.float64, (4, 3, 5, 5))[0].detach()
    mine = [Parameter(first.clone(memory_format=torch.channels_last))]
    theirs = [Parameter(first.clone())]
    native = trained(lambda ps: optim_core.get("lamb")(ps, engine="native"), mine)
    trained(lambda ps: optim_core.get("lamb")(ps, engine="eager"), theirs)
    assert_close(mine, theirs)
    assert mine[0].is_contiguous(memory_format=torch.channels_last)
    assert native.state[mine[0]]["exp_avg"].is_contiguous(memory_format=torch.channels_last)
    centred = trained(lambda ps: optim_core.create_optimizer(ps, "adamw", use_gc=True, engine="native"), mine)
    trained(lambda ps: optim_core.create_optimizer(ps, "adamw", use_gc=True, engine="eager"), theirs)
    assert_close(mine, theirs)
    assert engine_of(centred) == {"native"}


def test_complex_parameters_are_pairs_of_real_ones(chunks: None) -> None:
    mine, theirs = ([Parameter(torch.complex(*parameters(torch.float64, (3, 5), (3, 5))).detach())] for _ in range(2))
    trained(lambda ps: optim_core.get("adamw")(ps, engine="native"), mine)
    trained(lambda ps: optim_core.get("adamw")(ps, engine="eager"), theirs)
    assert_close(mine, theirs)


def test_autograd_notices_that_parameters_have_changed() -> None:
    w = Parameter(torch.ones(3))
    optimizer = optim_core.get("lion")([w], engine="native")
    loss = (w * w).sum()
    w.grad = torch.ones(3)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


# which tensors ------------------------------------------------------------------------------------------------
class Subclass(torch.Tensor):
    """A tensor that is more than memory."""


def strided() -> Parameter:
    return Parameter(torch.randn(8, 6)[:, ::2])


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Parameter(torch.randn(3, 4).as_subclass(Subclass)), "is a"),
        (strided, "gaps in memory"),
    ],
)
def test_what_is_no_plain_memory_goes_to_eager(make: Callable[[], Any], why: str) -> None:
    p = make()
    optimizer = optim_core.get("adamw")([p], engine="native")
    p.grad = torch.ones_like(p)
    before = p.detach().clone()
    with pytest.raises(EngineUnavailable, match=rf"engine='native' \(asked for\) cannot update.*{why}.*engine='auto'"):
        optimizer.step()
    assert torch.equal(p, before)
    optimizer.engine = "auto"
    optimizer.step()
    assert not torch.equal(p, before)
    assert why in optimizer.explain().rows[0].engine


def test_a_gradient_laid_out_otherwise_goes_to_eager() -> None:
    mine, theirs = (parameters(torch.float64, (40, 40), (50, 40)) for _ in range(2))
    native, eager = optim_core.get("lamb")(mine), optim_core.get("lamb")(theirs, engine="eager")
    for n in range(4):
        set_gradients(mine, n)
        set_gradients(theirs, n)
        if n == 2:
            mine[0].grad = mine[0].grad.t().contiguous().t()
        native.step()
        eager.step()
        assert_close(mine, theirs)
    set_gradients(mine, 4)
    mine[0].grad = mine[0].grad.t().contiguous().t()
    native.step()
    assert "laid out in memory in different ways" in native.explain().rows[0].engine
    native.engine = "native"
    with pytest.raises(EngineUnavailable, match="laid out in memory in different ways"):
        native.step()


def test_parameters_that_share_memory_go_to_eager() -> None:
    base = torch.randn(100, 100)
    tied = [Parameter(base[:60]), Parameter(base[40:])]
    for p in tied:
        p.grad = torch.ones_like(p)
    optimizer = optim_core.get("lion")(tied)
    optimizer.step()
    assert "share memory" in optimizer.explain().rows[0].engine
    optimizer.engine = "native"
    with pytest.raises(EngineUnavailable, match="share memory; use engine='eager'"):
        optimizer.step()


def test_a_gradient_that_is_a_parameter() -> None:
    mine, theirs = (parameters(torch.float64, (70, 70), (70, 70)) for _ in range(2))
    for p, q in (mine, theirs):
        p.grad, q.grad = p.detach(), q.detach()  # each its own
    native, eager = optim_core.get("adamw")(mine), optim_core.get("adamw")(theirs, engine="eager")
    native.step()
    eager.step()
    assert_close(mine, theirs)
    assert engine_of(native) == {"native"}
    mine[0].grad = mine[1].detach()  # another's
    native.step()
    assert "share memory" in native.explain().rows[0].engine


def test_tiny_models_are_left_to_eager() -> None:
    optimizer = trained(optim_core.get("adamw"), parameters())
    assert engine_of(optimizer) == {"eager"}
    assert "too few to compile for" in optimizer.explain().rows[0].engine
    assert engine_of(trained(optim_core.get("adamw"), parameters(torch.float32, (100, 100)))) == {"native"}


# choosing -----------------------------------------------------------------------------------------------------
def test_the_environment_chooses_for_those_who_leave_it_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTIM_CORE_ENGINE", "eager")
    optimizer = trained(optim_core.get("adamw"), parameters(torch.float32, (100, 100)))
    assert optimizer.explain().rows[0].engine == "eager: OPTIM_CORE_ENGINE"
    asked = trained(lambda ps: optim_core.get("adamw")(ps, engine="native"), parameters(torch.float32, (100, 100)))
    assert asked.explain().rows[0].engine == "native: asked for"
    monkeypatch.setenv("OPTIM_CORE_ENGINE", "natives")
    with pytest.raises(InvalidOption, match="OPTIM_CORE_ENGINE='natives' is not one of 'auto', 'eager', 'native'"):
        trained(optim_core.get("adamw"), parameters())


def test_settings_that_contradict_each_other_are_refused() -> None:
    make = optim_core.get("adamw")
    with pytest.raises(InvalidOption, match="AdamW: engine='fast' is not one of 'auto', 'eager', 'native'"):
        make(parameters(), engine="fast")
    with pytest.raises(InvalidOption, match="foreach=True is for the eager engine; engine='native' has no such mode"):
        make(parameters(), engine="native", foreach=True)
    optimizer = make(parameters(), foreach=True)
    with pytest.raises(InvalidOption, match="foreach=True is for the eager engine"):
        optimizer.engine = "native"
    assert optimizer.engine == "auto"


def test_the_engine_can_be_told_before_the_first_step() -> None:
    optimizer = optim_core.get("adamw")(parameters(torch.float32, (100, 100)))
    assert optimizer.explain().rows[0].engine == "native: the fastest on a CPU (before the first step)"
