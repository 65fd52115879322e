"""The Triton engine against the eager one: on a CPU by Triton's interpreter, on a GPU where there is one.

`nox -s triton` runs this file twice: with TRITON_INTERPRET=1, and without it, which compiles kernels for a GPU; none
need be there for that.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.random_graphs import (
    ARGUMENTS,
    EXTENTS,
    RECIPES,
    SHAPES,
    SPECIAL,
    WORDS,
    Recipe,
    assert_alike,
    stepped,
    tensors,
)
from support.requirements import needs_compiler, needs_gpu, needs_triton
from torch import Tensor
from torch.nn import Parameter

from optim_core import RuleOptimizer, hyper, state
from optim_core.engines.lowering import total_program, update_program
from optim_core.engines.triton import engine, kernel
from optim_core.engines.triton.source import TILE, source
from optim_core.errors import EngineUnavailable
from optim_core.rules import amax, dot, lerp, mean, norm, square, total
from optim_core.rules.arithmetic import HOST_OPERATIONS
from optim_core.rules.graph import Access, Extent, Graph
from optim_core.rules.trace import Trace
from optim_core.rules.values import Level, Value

#: By the type of parameters and gradients: that of arithmetic and states, and how closely engines agree.
PRECISIONS = {
    torch.float64: (torch.float64, 1e-10),
    torch.float32: (torch.float32, 1e-4),
    torch.bfloat16: (torch.float32, 2e-2),
    torch.float16: (torch.float32, 2e-3),
}


def compare(recipe: Recipe, shapes: Any, dtype: torch.dtype, **gradient: torch.dtype) -> None:
    compute_dtype, tolerance = PRECISIONS[dtype]
    graph = recipe.graph()
    buffers = tensors(shapes, {"p": dtype, "g": dtype, "states": compute_dtype, **gradient}, seed=len(recipe.words))
    wanted = stepped(graph, buffers, compute_dtype, "eager")
    assert_alike(stepped(graph, buffers, compute_dtype, "triton"), wanted, tolerance)


# random graphs --------------------------------------------------------------------------------------------------
@needs_triton
@settings(max_examples=120, deadline=None)
@given(RECIPES, SHAPES, st.sampled_from(list(PRECISIONS)))
def test_random_graphs(recipe: Recipe, shapes: Any, dtype: torch.dtype) -> None:
    compare(recipe, shapes, dtype)


#: Every word once, each on what the one before has made; and results on all levels.
ALL_WORDS = Recipe(
    [(k, 3 * k, 5 * k + 1) for k in range(len(WORDS))],
    {name: 7 + 4 * k for k, name in enumerate(("p", "a", "b", "sampled", "row", "tensor"))},
    1,
)


@needs_triton
@pytest.mark.parametrize("size", [TILE - 1, TILE, TILE + 1, 5 * TILE + 3])
@pytest.mark.parametrize("columns", [1, 3, 100, 1500])
def test_sizes_about_those_of_tiles_and_chunks(size: int, columns: int) -> None:
    compare(ALL_WORDS, [(size // columns + 1, columns), (2, 3), (size,), ()], torch.float64)


@needs_triton
def test_gradients_of_another_type() -> None:
    compare(ALL_WORDS, [(3, 4), (1030,)], torch.float32, g=torch.bfloat16)


# single operations ----------------------------------------------------------------------------------------------
#: On any numbers; random draws are a matter of tests/rules/test_rounding.py.
OPERATIONS = sorted(HOST_OPERATIONS.keys() - {"mod", "uniform", "stochastic_bfloat16"})


def on_special(make: Any, count: int, compute_dtype: torch.dtype, runs: str) -> Tensor:
    """What an expression of up to three inputs is for every combination of special values."""
    trace = Trace({})
    inputs = [trace.input(name, Level.ELEMENT) for name in ("p", "g", "a")[:count]]
    value = trace.number(make(*inputs))
    graph = Graph({"b": value}, {}, trace, {"b": Extent(Level.ELEMENT)})
    columns = torch.cartesian_prod(*[torch.tensor(SPECIAL, dtype=compute_dtype)] * count).reshape(-1, count).unbind(1)
    buffers = {name: [x.clone()] for name, x in zip(("p", "g", "a"), columns, strict=False)}
    buffers["b"] = [torch.zeros_like(buffers["p"][0])]
    used = stepped(graph, buffers, compute_dtype, runs)
    return used["b"][0]


@needs_triton
@pytest.mark.parametrize("compute_dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("op", OPERATIONS)
def test_an_operation_on_special_values(op: str, compute_dtype: torch.dtype) -> None:
    def make(*x: Value) -> Value:
        return x[0].trace.apply(op, *x)

    got, wanted = (on_special(make, ARGUMENTS.get(op, 2), compute_dtype, runs) for runs in ("triton", "eager"))
    torch.testing.assert_close(got, wanted, equal_nan=True)
    assert torch.equal(got.isnan() | (got != 0) | ~got.signbit(), wanted.isnan() | (wanted != 0) | ~wanted.signbit())


@needs_triton
@pytest.mark.parametrize("exponent", [2.0, 3.0, 0.5, -0.5, -1.0, -2.0, 1.7, 0.0])
def test_a_power_of_special_values(exponent: float) -> None:
    got, wanted = (on_special(lambda x: x**exponent, 1, torch.float64, runs) for runs in ("triton", "eager"))
    torch.testing.assert_close(got, wanted, equal_nan=True)


@needs_triton
@pytest.mark.parametrize("over", ["row", "tensor"])
@pytest.mark.parametrize("reduce", [amax, norm, mean, lambda x, over: dot(x, x, over)])
def test_a_reduction_of_nan_and_inf(reduce: Any, over: str) -> None:
    for special in (math.nan, math.inf, -math.inf):
        trace = Trace({})
        p = trace.input("p", Level.ELEMENT)
        graph = Graph({"p": p * 0 + reduce(p, over)}, {}, trace, {"p": Extent(Level.ELEMENT)})
        x = torch.ones(3, 1200, dtype=torch.float64)
        x[1, 1100] = special
        got, wanted = (stepped(graph, {"p": [x]}, torch.float64, runs) for runs in ("triton", "eager"))
        assert_alike(got, wanted, 1e-12)


@needs_triton
def test_bfloat16_is_rounded_to_the_nearest() -> None:
    trace = Trace({})
    graph = Graph({"p": trace.input("a", Level.ELEMENT)}, {}, trace, {"p": Extent(Level.ELEMENT)})
    bits = torch.arange(0, 1 << 32, 65521, dtype=torch.int64)
    x = torch.where(bits < 1 << 31, bits, bits - (1 << 32)).to(torch.int32).view(torch.float32)
    buffers = {"p": [torch.zeros(len(x), dtype=torch.bfloat16)], "a": [x]}
    got = stepped(graph, buffers, torch.float32, "triton")["p"][0]
    torch.testing.assert_close(got, x.bfloat16(), rtol=0, atol=0, equal_nan=True)


# optimizers -----------------------------------------------------------------------------------------------------
class Everything(RuleOptimizer):
    """States and reductions on every level."""

    lr: float = hyper(0.1, "step size", ge=0)

    average = state("average")
    rows = state("size of a row", level="row")
    trust = state("size of the tensor", level="tensor")
    seen = state("size of everything", level="whole")

    @staticmethod
    def rule(
        p: Value, g: Value, average: Value, rows: Value, trust: Value, seen: Value, *, lr: Value
    ) -> tuple[Value, ...]:
        average = lerp(g, average, 0.9)
        rows = lerp(norm(g, over="row"), rows, 0.5)
        trust = lerp(norm(p), trust, 0.5)
        seen = seen + total(square(g))
        return p - lr * average / (1 + rows + trust + seen), average, rows, trust, seen


def trained(runs: str, *, changed: bool = False, device: str = "cpu", dtype: torch.dtype = torch.float64) -> Any:
    """Three steps; ``changed`` moves gradients, adds a group, and leaves a parameter out on the way."""
    generator = torch.Generator().manual_seed(1)
    shapes = [(3, 4), (5,), (), (2, 3, 4, 4), (40, 70)]
    params = [Parameter(torch.randn(s, generator=generator, dtype=torch.float64).to(device, dtype)) for s in shapes]
    params[3].data = params[3].data.to(memory_format=torch.channels_last)
    optimizer = Everything(params[:-1], engine=runs)
    kept = []
    for k in range(3):
        for i, p in enumerate(params):
            gradient = torch.cos(p.detach() * (i + 1 + k))
            if changed and k == 1 and i == 4:  # four bytes past where torch puts tensors
                gradient = torch.cat([gradient.new_zeros(1), gradient.reshape(-1)])[1:].view(p.shape)
            kept.append(gradient)
            p.grad = None if changed and k == 2 and i == 0 else gradient
        if changed and k == 1:
            optimizer.add_param_group({"params": params[-1:], "lr": 0.3})
        optimizer.step()
    return [*params, *(x for p in params if p in optimizer.state for x in optimizer.state[p].values()), optimizer.whole]


def assert_trained_alike(first: Any, second: Any, tolerance: float) -> None:
    torch.testing.assert_close(first, second, rtol=tolerance, atol=tolerance)


@needs_triton
@pytest.mark.parametrize("changed", [False, True])
def test_an_optimizer_with_states_on_every_level(*, changed: bool) -> None:
    assert_trained_alike(trained("triton", changed=changed), trained("eager", changed=changed), 1e-12)


@needs_triton
def test_one_launch_a_sweep_whatever_the_number_of_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    launches: Counter[str] = Counter()
    module = kernel.module

    class Counted:
        def __init__(self, name: str, function: Any) -> None:
            self.name, self.function = name, function

        def __getitem__(self, grid: tuple[int]) -> Any:
            launches[self.name] += grid[0] > 0
            return self.function[grid]

    monkeypatch.setattr(kernel, "module", lambda text: {n: Counted(n, f) for n, f in module(text).items()})
    trace = Trace({})
    p, g = (trace.input(name, Level.ELEMENT) for name in "pg")
    for count in (1, 30):
        launches.clear()
        graph = Graph({"p": p - g / norm(g)}, {}, trace, {"p": Extent(Level.ELEMENT)})
        stepped(graph, {name: [torch.ones(5)] * count for name in "pg"}, torch.float32, "triton")
        assert launches == {"sweep0": 1, "stage1": 1, "sweep1": 1}


@needs_triton
def test_autograd_notices() -> None:
    w = Parameter(torch.ones(3))
    squared = (w * w).sum()
    optimizer = Everything([w], engine="triton")
    w.grad = torch.ones(3)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        squared.backward()


# choice ---------------------------------------------------------------------------------------------------------
def ask(params: list[Parameter]) -> None:
    for p in params:
        p.grad = torch.ones_like(p)
    Everything(params, engine="triton").step()


def test_without_triton_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "import_problem", lambda: "Triton cannot be imported (No module): pip install triton")
    with pytest.raises(EngineUnavailable, match=r"engine='triton' \(asked for\) .* pip install triton; engine='auto'"):
        ask([Parameter(torch.ones(3))])


def test_a_cpu_without_the_interpreter_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "import_problem", lambda: None)
    monkeypatch.setattr(engine, "interpreting", lambda: False)
    w = Parameter(torch.ones(3))
    with pytest.raises(EngineUnavailable, match="p is on cpu, and Triton works on CUDA devices only"):
        ask([w])
    assert w.tolist() == [1.0] * 3


def test_a_gpu_with_the_interpreter_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "import_problem", lambda: None)
    monkeypatch.setattr(engine, "interpreting", lambda: True)
    reason = engine.obstacle({"p": torch.ones(3, device="meta")}, Access({"p": EXTENTS["p"]}), torch.float32)
    assert reason == "p is on meta, and Triton's interpreter (TRITON_INTERPRET) works on a CPU only"


@needs_triton
def test_auto_leaves_a_cpu_to_the_native_engine() -> None:
    optimizer = Everything([Parameter(torch.ones(3))])
    assert "triton" not in str(optimizer.explain())


@needs_triton
def test_kernels_that_do_not_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "source", lambda *_, **__: "def broken(:")
    w = Parameter(torch.ones(3))
    with pytest.raises(EngineUnavailable, match=r"engine='triton': SyntaxError: .* or use engine='eager'"):
        ask([w])
    assert w.tolist() == [1.0] * 3


# a GPU ----------------------------------------------------------------------------------------------------------
def assembled(text: str, align: int, columns: int) -> dict[str, str]:
    """The assembly of each kernel of a module, for a GPU that need not be there."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    found = {}
    for name, function in kernel.module(text).items():
        if name.startswith(("stage", "sweep")):
            kinds = {"ALIGN": align, "ROWS": TILE // columns, "COLS": columns}
            doubles = dict.fromkeys(("scalars", "partials", "values"), "*fp64")
            counts = dict.fromkeys(("first", "n_chunks", "n_tensors"), "i32")
            signature = {
                n: "constexpr" if n in kinds else (doubles | counts).get(n, "*i64") for n in function.arg_names
            }
            constants = {(function.arg_names.index(n),): k for n, k in kinds.items()}
            built = triton.compile(
                ASTSource(function, signature, constants),
                target=GPUTarget("cuda", 90, 32),
                options={"enable_fp_fusion": False},
            )
            assert built.asm["cubin"]
            found[name] = built.asm["ptx"]
    return found


def texts(graph: Graph, dtype: torch.dtype) -> list[str]:
    compute_dtype = PRECISIONS[dtype][0]
    dtypes = {name: dtype if name in ("p", "g") else compute_dtype for name in graph.buffers}
    programs = [total_program(graph, (i,)) for i in range(len(graph.trace.totals))] + [update_program(graph)]
    return [source(program, dtypes, compute_dtype, interpreted=False) for program in programs]


@needs_compiler
@pytest.mark.parametrize("dtype", PRECISIONS)
def test_everything_compiles_for_a_gpu(dtype: torch.dtype) -> None:
    for text in texts(ALL_WORDS.graph(), dtype):
        assembled(text, align=1, columns=16)


@needs_compiler
@pytest.mark.parametrize("op", OPERATIONS)
def test_an_operation_compiles_for_a_gpu(op: str) -> None:
    trace = Trace({})
    inputs = [trace.input(name, Level.ELEMENT) for name in ("p", "g", "a")]
    outputs = {"p": trace.number(trace.apply(op, *inputs[: ARGUMENTS.get(op, 2)]))}
    for dtype in (torch.float32, torch.float64):
        for text in texts(Graph(outputs, {}, trace, {"p": EXTENTS["p"]}), dtype):
            assembled(text, align=1, columns=1)


@needs_compiler
def test_what_is_compiled_is_exact_and_loads_16_bytes_at_a_time() -> None:
    trace = Trace({})
    p, g, a = (trace.input(name, Level.ELEMENT) for name in "pga")
    new = lerp(square(g), a, 0.9)
    graph = Graph({"p": p - g / new**0.5, "a": new}, {}, trace, {"p": EXTENTS["p"], "a": EXTENTS["a"]})
    (text,) = texts(graph, torch.float32)
    ptx = assembled(text, align=16, columns=1)["sweep0"]
    assert "div.rn.f32" in ptx
    assert "sqrt.rn.f32" in ptx
    assert "ld.global.v4" in ptx
    assert "st.global.v4" in ptx
    assert "fma.rn" not in ptx
    assert "ld.global.v4" not in assembled(text, align=1, columns=1)["sweep0"]


@needs_gpu
@settings(max_examples=30, deadline=None)
@given(RECIPES, SHAPES, st.sampled_from(list(PRECISIONS)))
def test_random_graphs_on_a_gpu(recipe: Recipe, shapes: Any, dtype: torch.dtype) -> None:
    compute_dtype, tolerance = PRECISIONS[dtype]
    graph = recipe.graph()
    buffers = tensors(shapes, {"p": dtype, "g": dtype, "states": compute_dtype}, seed=len(recipe.words))
    buffers = {name: [x.cuda() for x in several] for name, several in buffers.items()}
    wanted = stepped(graph, buffers, compute_dtype, "eager")
    assert_alike(stepped(graph, buffers, compute_dtype, "triton"), wanted, tolerance)


@needs_gpu
@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("changed", [False, True])
def test_an_optimizer_on_a_gpu(dtype: torch.dtype, *, changed: bool) -> None:
    got, again, wanted = (
        trained(runs, changed=changed, device="cuda", dtype=dtype) for runs in ("triton", "triton", "eager")
    )
    assert_trained_alike(got, again, 0)
    assert_trained_alike(got, wanted, PRECISIONS[dtype][1])


@needs_gpu
def test_auto_takes_a_gpu_and_a_step_does_not_wait_for_it() -> None:
    w = Parameter(torch.ones(1 << 13, device="cuda"))
    optimizer = Everything([w])
    for _ in range(2):
        w.grad = torch.ones_like(w)
        optimizer.step()
    assert "triton" in str(optimizer.explain())
    w.grad = torch.ones_like(w)
    torch.cuda.set_sync_debug_mode("error")
    try:
        optimizer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
