"""The rule compiler: tracing, guards, errors, and the eager engine against plain arithmetic."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.random_graphs import ARGUMENTS, SPECIAL
from support.small import equal
from torch import Tensor
from torch.nn import Parameter

from optim_core import RuleOptimizer, hyper, state
from optim_core.engines.bucket import Bucket
from optim_core.engines.eager import engine as eager
from optim_core.engines.eager.inplace import schedule
from optim_core.engines.host import function
from optim_core.engines.run import run
from optim_core.errors import RuleError
from optim_core.methods.declarations import extra
from optim_core.rules.graph import Graph, Home
from optim_core.rules.stacked import stacked
from optim_core.rules.values import HOST_OPERATIONS, LOGICAL, Level, Trace, Value, evaluate
from optim_core.rules.vocabulary import (
    amax,
    clamp,
    dot,
    lerp,
    maximum,
    mean,
    norm,
    sample,
    sign,
    sqrt,
    square,
    total,
    where,
)

NAMES = ("p", "g", "a", "b")
#: Each word with its meaning in torch; the symbols of Level ELEMENT are x and y.
WORDS: list[tuple[Any, Any]] = [
    (lambda x, y: x + y, lambda x, y: x + y),
    (lambda x, y: x - 0.3 * y, lambda x, y: x - 0.3 * y),
    (lambda x, y: 2.0 - x * y, lambda x, y: 2.0 - x * y),
    (lambda x, y: x / (1 + square(y)), lambda x, y: x / (1 + y.square())),
    (lambda x, y: sqrt(abs(x)) * sign(y), lambda x, y: x.abs().sqrt() * y.sign()),
    (lambda x, y: lerp(x, y, 0.9), lambda x, y: torch.lerp(x, y, 0.9)),
    (lambda x, y: where(x > y, x, -y), lambda x, y: torch.where(x > y, x, -y)),
    (lambda x, y: clamp(maximum(x, y), -1, 1), lambda x, y: torch.maximum(x, y).clamp(-1, 1)),
    (lambda x, y: x * norm(y), lambda x, y: x * torch.linalg.vector_norm(y)),
    (lambda x, y: x - mean(y, over="row"), lambda x, y: x - _row_mean(y)),
    (lambda x, y: x + dot(x, y), lambda x, y: x + (x * y).sum()),
]


def _row_mean(x: Tensor) -> Tensor:
    return x if x.ndim <= 1 else x.mean(dim=tuple(range(1, x.ndim)), keepdim=True)


def graph_of(outputs: dict[str, int], steps: list[tuple[int, int, int]]) -> tuple[Graph, Trace]:
    trace = Trace({})
    values: list[Any] = [trace.input(name, Level.ELEMENT) for name in NAMES]
    for word, i, j in steps:
        values.append(WORDS[word][0](values[i % len(values)], values[j % len(values)]))
    chosen = {name: values[k % len(values)] for name, k in outputs.items()}
    changed = {n: v for n, v in chosen.items() if not (v.op == "input" and v.name == n)}
    return Graph(changed, {}, trace, dict.fromkeys(changed, Home(Level.ELEMENT))), trace


def reference(
    tensors: dict[str, Tensor], outputs: dict[str, int], steps: list[tuple[int, int, int]]
) -> dict[str, Tensor]:
    values = [tensors[name] for name in NAMES]
    for word, i, j in steps:
        values.append(WORDS[word][1](values[i % len(values)], values[j % len(values)]))
    return {name: values[k % len(values)].clone() for name, k in outputs.items()}


SHAPES = st.lists(st.sampled_from([(), (1,), (5,), (4, 1), (3, 4), (2, 3, 2, 2)]), min_size=1, max_size=4)
STEPS = st.lists(st.tuples(st.integers(0, len(WORDS) - 1), st.integers(0, 9), st.integers(0, 9)), max_size=8)
OUTPUTS = st.fixed_dictionaries({"p": st.integers(0, 12), "a": st.integers(0, 12), "b": st.integers(0, 12)})


@settings(max_examples=150, deadline=None)
@given(SHAPES, STEPS, OUTPUTS, st.sampled_from([None, True, False]), st.sampled_from([1, 40, 1 << 20]))
def test_random_graphs(shapes: Any, steps: Any, outputs: Any, foreach: bool | None, piece: int) -> None:
    generator = torch.Generator().manual_seed(len(steps))
    buffers = {n: [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes] for n in NAMES}
    wanted = [reference({n: buffers[n][k].clone() for n in NAMES}, outputs, steps) for k, _ in enumerate(shapes)]
    gradients = [g.clone() for g in buffers["g"]]
    graph, _ = graph_of(outputs, steps)
    before = dict(eager.PIECE_BYTES)
    try:
        eager.PIECE_BYTES["cpu"] = piece
        run([Bucket(graph, {}, buffers, torch.float64)], {}, foreach=foreach)
    finally:
        eager.PIECE_BYTES.update(before)
    for k, expected in enumerate(wanted):
        for name, x in expected.items():
            torch.testing.assert_close(buffers[name][k], x, rtol=1e-12, atol=1e-12, equal_nan=True)
    assert equal(gradients, buffers["g"])


@pytest.mark.parametrize("foreach", [None, True, False])
def test_states_swap(foreach: bool | None) -> None:
    buffers = {n: [torch.full((3,), float(i))] for i, n in enumerate(NAMES)}
    graph, _ = graph_of({"p": 0, "a": 3, "b": 2}, [])
    run([Bucket(graph, {}, buffers, torch.float32)], {}, foreach=foreach)
    assert buffers["a"][0].tolist() == [3.0] * 3
    assert buffers["b"][0].tolist() == [2.0] * 3


def test_a_moving_average_is_computed_in_its_own_memory() -> None:
    trace = Trace({})
    p, g, a = (trace.input(name, Level.ELEMENT) for name in "pga")
    new = lerp(g, a, 0.9)
    plan = schedule({"p": p - 0.1 * new, "a": new})
    over = {step.value.op: step.over for step in plan.code}
    assert over == {"lerp": 1, "mul": None, "sub": 0}


def test_totals_are_over_all_groups_and_totals_of_totals_work() -> None:
    class Centred(RuleOptimizer):
        lr: float = hyper(1.0, "step size", ge=0)
        seen = state("largest total so far", level="whole")

        @staticmethod
        def rule(p: Value, g: Value, seen: Value, *, lr: Value) -> tuple[Value, ...]:
            whole = total(g)
            spread = total(square(g - whole))
            return p - lr * spread, maximum(seen, whole)

    params = [Parameter(torch.zeros(2, dtype=torch.float64)), Parameter(torch.zeros(3, dtype=torch.float64))]
    optimizer = Centred([{"params": params[:1]}, {"params": params[1:], "lr": 0.5}])
    optimizer.minimize(lambda: params[0].sum() + 2 * params[1].sum())
    spread = 2 * (1 - 8) ** 2 + 3 * (2 - 8) ** 2
    assert params[0].tolist() == [-spread] * 2
    assert params[1].tolist() == [-spread / 2] * 3
    assert float(optimizer.whole["seen"]) == 8


def test_a_branch_on_a_host_number_is_taken_anew() -> None:
    class Switch(RuleOptimizer):
        lr: float = hyper(1.0, "step size", ge=0)

        @staticmethod
        def rule(p: Value, g: Value, *, lr: Value, step: Value) -> Value:
            return p - lr * g if step < 3 else p + lr * g

    w = Parameter(torch.zeros(1))
    optimizer = Switch([w])
    path = []
    for _ in range(4):
        optimizer.minimize(w.sum)
        path.append(w.item())
    assert path == [-1.0, -2.0, -1.0, 0.0]


@pytest.mark.parametrize(
    ("scale", "shape", "moved"), [("element", (2, 2), 1.0), ("row", (2, 1), 0.75), ("tensor", (), 0.5625)]
)
def test_level_and_number_of_a_state_may_follow_from_options(scale: str, shape: Any, moved: float) -> None:
    class Delayed(RuleOptimizer):
        lr: float = hyper(1.0, "step size", ge=0)
        delay: int = hyper(2, "steps that a gradient waits", ge=1)
        scale: str = hyper("tensor", "what has a scale of its own", choices=("element", "row", "tensor"))

        waiting = state("gradients of the last steps, the oldest first", copies="delay")
        largest = state("largest |g| so far", level=lambda group: group["scale"])

        @staticmethod
        def rule(
            p: Value, g: Value, waiting: list[Value], largest: Value, *, lr: Value, scale: str
        ) -> tuple[Value | list[Value], ...]:
            now = abs(g) if scale == "element" else amax(abs(g), over="row" if scale == "row" else "tensor")
            largest = maximum(largest, now)
            return p - lr * waiting[0] / largest, [*waiting[1:], g], largest

    w, g = Parameter(torch.zeros(2, 2)), torch.tensor([[1.0, 2.0], [2.0, 4.0]])
    optimizer = Delayed([w], delay=3, scale=scale)
    for _ in range(4):
        optimizer.minimize(lambda: torch.sum(w * g))
    assert w.mean().item() == -moved
    assert len(optimizer.state[w]["waiting"]) == 3
    assert optimizer.state[w]["largest"].shape == shape
    assert optimizer.state_bytes() == 3 * w.nbytes + optimizer.state[w]["largest"].nbytes


def symbols() -> tuple[Value, Value]:
    trace = Trace({"lr": 0.1})
    return trace.input("p", Level.ELEMENT), trace.input("lr", Level.HOST)


#: Operations that draw, or take what is drawn.
DRAWS = ("uniform", "stochastic_bfloat16")


@pytest.mark.parametrize("op", sorted(HOST_OPERATIONS))
def test_host_numbers_are_the_same_in_one_function_as_one_by_one(op: str) -> None:
    names = ("a", "b", "c")[: ARGUMENTS.get(op, 2)]
    for numbers in itertools.product([0.0, 0.5] if op in DRAWS else SPECIAL, repeat=len(names)):
        host = dict(zip(names, numbers, strict=True))
        trace = Trace(host)
        inputs = [trace.input(name, Level.HOST) for name in names]
        first = inputs[0] > 0 if op in LOGICAL | {"where"} else inputs[0]
        value = trace.number(trace.apply(op, first, *inputs[1:]))
        values = [value, 1 - value * inputs[-1]]
        wanted = [float(evaluate(v, host)) for v in values]
        assert list(map(repr, function(values)(host, {}, {}))) == list(map(repr, wanted))


def test_misuse_of_symbols_says_what_to_do() -> None:
    p, lr = symbols()
    with pytest.raises(RuleError, match=r"use where\(condition, a, b\)"):
        bool(p > 0)
    with pytest.raises(RuleError, match="one value, not a sequence"):
        list(p)
    with pytest.raises(RuleError, match="another trace"):
        p + symbols()[0]
    with pytest.raises(RuleError, match="nothing left to reduce"):
        norm(norm(p))
    with pytest.raises(RuleError, match="cannot meet"):
        sample(p, 2) + p
    assert bool(lr > 0)


def test_a_rule_that_does_not_fit_its_declarations() -> None:
    with pytest.raises(RuleError, match="neither a state nor an extra"):
        type("Bad", (RuleOptimizer,), {"rule": staticmethod(lambda p, g, m: (p, m))})
    with pytest.raises(RuleError, match="neither an option nor one of"):

        class Worse(RuleOptimizer):
            @staticmethod
            def rule(p: Value, g: Value, *, moment: Value) -> Value:
                return p

    class Short(RuleOptimizer):
        lr: float = hyper(1.0, "step size", ge=0)
        m = state("average")

        @staticmethod
        def rule(p: Value, g: Value, m: Value, *, lr: Value) -> Value:
            return p - lr * m

    w = Parameter(torch.ones(2))
    with pytest.raises(RuleError, match="returns 1 values instead of p and 1 states"):
        Short([w]).minimize(w.sum)
    assert w.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("foreach", [True, False])
def test_functions_of_stacks_take_extras_too(foreach: bool) -> None:
    class Pushed(RuleOptimizer):
        lr: float = hyper(1.0, "step size", ge=0)
        m = state("sum of what it was pushed by")
        push = extra("added to the gradient in every other step")

        def extras(self, params: Sequence[Tensor]) -> dict[str, list[Tensor]]:
            return {"push": [torch.full_like(p, p.numel()) for p in params]} if self.whole_step % 2 else {}

        @staticmethod
        def rule(p: Value, g: Value, push: Value | None, m: Value, *, lr: Value) -> tuple[Value, Value]:
            return (p - lr * g, m) if push is None else (p - lr * added(g, push), m + push)

    @stacked("element")
    def added(g: Tensor, push: Tensor) -> Tensor:
        assert len(g) == (1 if foreach is False or g.ndim == 3 else 2)
        return g + push

    params = [Parameter(torch.zeros(shape)) for shape in ((2,), (2,), (3, 1))]
    optimizer = Pushed(params, foreach=foreach)
    for _ in range(2):
        optimizer.minimize(lambda: torch.stack([p.sum() for p in params]).sum())
    assert [p.flatten().tolist() for p in params] == [[-4.0] * 2, [-4.0] * 2, [-5.0] * 3]
    assert [optimizer.state[p]["m"].flatten().tolist() for p in params] == [[2.0] * 2, [2.0] * 2, [3.0] * 3]


def test_low_precision_computes_in_float32() -> None:
    w = Parameter(torch.ones(4, dtype=torch.bfloat16))

    class Momentum(RuleOptimizer):
        lr: float = hyper(1e-3, "step size", ge=0)
        m = state("average")

        @staticmethod
        def rule(p: Value, g: Value, m: Value, *, lr: Value) -> tuple[Value, ...]:
            m = lerp(g, m, 0.9)
            return p - lr * m, m

    optimizer = Momentum([w])
    optimizer.minimize(lambda: w.float().sum())
    assert optimizer.state[w]["m"].dtype is torch.float32
    saved = optimizer.state_dict()
    optimizer.load_state_dict(saved)
    assert optimizer.state[w]["m"].dtype is torch.float32


def test_nan_and_inf_propagate_alike() -> None:
    results = []
    for foreach in (None, True, False):
        buffers = {n: [torch.tensor([float("nan"), float("inf"), 1.0])] for n in NAMES}
        graph, _ = graph_of({"p": 4, "a": 5, "b": 6}, [(6, 0, 1), (7, 0, 1), (3, 0, 1)])
        run([Bucket(graph, {}, buffers, torch.float32)], {}, foreach=foreach)
        results.append([buffers[n][0] for n in ("p", "a", "b")])
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], equal_nan=True, rtol=0, atol=0)
