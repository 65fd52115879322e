"""The eager engine, and the function for host numbers, against plain arithmetic."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.random_graphs import ARGUMENTS, SPECIAL
from support.small import equal
from torch import Tensor

from optim_core.engines.bucket import Bucket
from optim_core.engines.eager import engine as eager
from optim_core.engines.eager.inplace import schedule
from optim_core.engines.host import function
from optim_core.engines.run import run
from optim_core.rules.arithmetic import HOST_OPERATIONS, LOGICAL
from optim_core.rules.graph import Extent, Graph
from optim_core.rules.trace import Trace, evaluate
from optim_core.rules.values import Level
from optim_core.rules.vocabulary import (
    clamp,
    dot,
    lerp,
    maximum,
    mean,
    norm,
    sign,
    sqrt,
    square,
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
    return Graph(changed, {}, trace, dict.fromkeys(changed, Extent(Level.ELEMENT))), trace


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
        run([Bucket(graph, {}, buffers, torch.float64, foreach=foreach)], {})
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
    run([Bucket(graph, {}, buffers, torch.float32, foreach=foreach)], {})
    assert buffers["a"][0].tolist() == [3.0] * 3
    assert buffers["b"][0].tolist() == [2.0] * 3


def test_a_moving_average_is_computed_in_its_own_memory() -> None:
    trace = Trace({})
    p, g, a = (trace.input(name, Level.ELEMENT) for name in "pga")
    new = lerp(g, a, 0.9)
    plan = schedule({"p": p - 0.1 * new, "a": new})
    over = {step.value.op: step.over for step in plan.code}
    assert over == {"lerp": 1, "mul": None, "sub": 0}


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


def test_nan_and_inf_propagate_alike() -> None:
    results = []
    for foreach in (None, True, False):
        buffers = {n: [torch.tensor([float("nan"), float("inf"), 1.0])] for n in NAMES}
        graph, _ = graph_of({"p": 4, "a": 5, "b": 6}, [(6, 0, 1), (7, 0, 1), (3, 0, 1)])
        run([Bucket(graph, {}, buffers, torch.float32, foreach=foreach)], {})
        results.append([buffers[n][0] for n in ("p", "a", "b")])
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], equal_nan=True, rtol=0, atol=0)
