"""Random expression graphs over all levels, for tests that hold one engine against another."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from optim_core.engines.bucket import Bucket
from optim_core.engines.run import run
from optim_core.errors import RuleError
from optim_core.rules import (
    amax,
    atan2,
    cos,
    dot,
    exp,
    lerp,
    maximum,
    mean,
    minimum,
    norm,
    sample,
    size,
    sqrt,
    square,
    tanh,
    total,
    where,
)
from optim_core.rules.graph import Extent, Graph
from optim_core.rules.trace import Trace
from optim_core.rules.values import Level, Value

#: Numbers that operations have a case of their own for.
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 1e-30, math.inf, -math.inf, math.nan]
#: How many operands an operation takes, if not two.
ARGUMENTS = {
    "where": 3,
    "lerp": 3,
    "average_of_squares": 3,
    **dict.fromkeys(("neg", "abs", "square", "sign", "sqrt", "exp", "log", "cos"), 1),
}
ARGUMENTS |= {"uniform": 3, **dict.fromkeys(("tanh", "sigmoid", "not", "bfloat16"), 1)}
#: Every n-th element is what sampled values and states hold.
EVERY = 3
EXTENTS = {
    "p": Extent(Level.ELEMENT),
    "g": Extent(Level.ELEMENT),
    "a": Extent(Level.ELEMENT),
    "b": Extent(Level.ELEMENT),
    "sampled": Extent(Level.ELEMENT, EVERY),
    "row": Extent(Level.ROW),
    "tensor": Extent(Level.TENSOR),
}
WRITTEN = ("p", "a", "b", "sampled", "row", "tensor")
WHOLE = {"whole": 0.7}
HOST = {"lr": 0.3, "beta": 0.9}
#: Results stay small and depend on their operands smoothly, so that rounding stays rounding.
WORDS: list[Any] = [
    lambda x, y: 0.5 * (x + y),
    lambda x, y: 0.7 * x - 0.3 * y,
    lambda x, y: x * tanh(y),
    lambda x, y: x / (1 + square(y)),
    lambda x, y: sqrt(square(x) + 1e-3),
    lambda x, y: exp(-square(x)) + 0.1 * abs(y),
    lambda x, y: lerp(x, y, 0.9),
    lambda x, y: lerp(x, y, x.trace.input("beta", Level.HOST)),
    lambda x, y: lerp(x, y, tanh(square(y))),
    lambda x, y: lerp(square(tanh(x)), y, 0.999),
    lambda x, y: lerp(square(tanh(x)), y, x.trace.input("beta", Level.HOST)),
    lambda x, y: lerp(square(tanh(x)), y, tanh(square(y))),
    lambda x, y: atan2(x, 1 + square(y)),
    lambda x, y: minimum(maximum(x, y), 2.0),
    lambda x, y: where(x > y, x - y, 0.0),
    lambda x, y: where((x > 0) & (y > 0), tanh(x * y), 0.0),
    lambda x, y: where((x < 0) | ~(y > 0), 0.0, minimum(x, y)),
    lambda x, y: x * x.trace.input("lr", Level.HOST) - x.trace.input("whole", Level.WHOLE),
    lambda x, y: tanh(norm(x)),
    lambda x, y: tanh(dot(x, y)),
    lambda x, y: y * cos(x),
    lambda x, y: mean(x),
    lambda x, y: amax(y),
    lambda x, y: norm(x, over="row") * 0.5,
    lambda x, y: mean(y, over="row"),
    lambda x, y: tanh(dot(x, y, over="row")),
    lambda x, y: amax(x, over="row"),
    lambda x, y: sqrt(size(x, over="row")) * 0.1,
    lambda x, y: size(x) * 0.01,
    lambda x, y: sample(x, EVERY),
    lambda x, y: tanh(total(x)),
]


@dataclass(frozen=True)
class Recipe:
    """What a random graph is made of: words with the places of their operands, and the places of the results."""

    words: Sequence[tuple[int, int, int]]
    results: Mapping[str, int]
    whole: int

    def graph(self) -> Graph:
        trace = Trace(HOST)
        values = [trace.input(name, *extent) for name, extent in EXTENTS.items()]
        for word, i, j in self.words:
            try:
                values.append(WORDS[word](values[i % len(values)], values[j % len(values)]))
            except RuleError:  # sampled and full values do not meet, and a level is reduced upwards only
                continue
        outputs = {name: _chosen(values, EXTENTS[name], k) for name, k in self.results.items()}
        outputs = {name: v for name, v in outputs.items() if not (v.op == "input" and v.name == name)}
        shared = [trace.input("whole", Level.WHOLE), *(v for v in values if v.level is Level.WHOLE)]
        whole = {"whole": shared[self.whole % len(shared)]}
        return Graph(outputs, whole, trace, {name: EXTENTS[name] for name in outputs})


def _chosen(values: Sequence[Value], extent: Extent, k: int) -> Value:
    fitting = [v for v in values if v.level > extent.level or (v.level == extent.level and v.every == extent.every)]
    fitting = [v for v in fitting if v.level > Level.ROW or v.every == extent.every]
    return fitting[k % len(fitting)]


PLACES = st.integers(0, 30)
RECIPES = st.builds(
    Recipe,
    st.lists(st.tuples(st.integers(0, len(WORDS) - 1), PLACES, PLACES), max_size=10),
    st.fixed_dictionaries(dict.fromkeys(WRITTEN, PLACES)),
    PLACES,
)
SHAPES = st.lists(
    st.sampled_from([(), (1,), (5,), (4, 1), (3, 4), (2, 3, 2, 2), (1, 37), (1030,)]), min_size=1, max_size=4
)


def tensors(shapes: Sequence[tuple[int, ...]], dtypes: Mapping[str, torch.dtype], *, seed: int) -> dict[str, Any]:
    """Buffers for parameters of these shapes; ``dtypes`` has an entry "states" and may have ones by name."""
    generator = torch.Generator().manual_seed(seed)

    def buffer(name: str, shape: tuple[int, ...]) -> Tensor:
        extent = EXTENTS[name]
        numbers = torch.Size(shape).numel()
        if extent.every > 1:
            shape = (-(-numbers // extent.every),)
        elif extent.level is Level.ROW:
            shape = (*shape[:1], *(1 for _ in shape[1:]))
        elif extent.level is Level.TENSOR:
            shape = ()
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtypes.get(name, dtypes["states"]))

    return {name: [buffer(name, shape) for shape in shapes] for name in EXTENTS}


def stepped(
    graph: Graph, buffers: Mapping[str, Sequence[Tensor]], compute_dtype: torch.dtype, engine: str
) -> dict[str, Any]:
    """All buffers, and the state of the whole, after a step by an engine; what was given stays as it is."""
    used = {name: copy.deepcopy(buffers[name]) for name in {"p": None, **graph.buffers}}
    whole = {name: torch.tensor(x, dtype=torch.float64) for name, x in WHOLE.items()}
    run([Bucket(graph, HOST, used, compute_dtype, engine)], whole)
    return {**used, **{name: [x] for name, x in whole.items()}}


def assert_alike(got: Mapping[str, Sequence[Tensor]], wanted: Mapping[str, Sequence[Tensor]], tolerance: float) -> None:
    for name, expected in wanted.items():
        for x, y in zip(got[name], expected, strict=True):
            torch.testing.assert_close(
                x, y, rtol=tolerance, atol=tolerance, equal_nan=True, msg=lambda m, name=name: f"{name}: {m}"
            )
