"""How many bytes a method must move in a step, and what sort of work it does: both follow from what it declares.

A step reads the gradient, and reads and writes the parameter and the states, once each. What the rule's graph does
not touch (a state that is only read, such as where the weights began) is counted as the graph has it. So a fused
AdamW moves 7 numbers for each weight, and a method that keeps one state 5.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, TypeAlias

from torch.nn import Parameter

from benchmarks.shapes import Shape
from optim_core import RuleOptimizer
from optim_core.rules.arithmetic import REDUCTIONS
from optim_core.rules.graph import Extent, Graph
from optim_core.rules.values import Level

#: ``elementwise``: every element by itself; ``reductions``: sums over rows, tensors or the model as well;
#: ``matrices``: torch operations on stacks of matrices (or a class that is no RuleOptimizer), where arithmetic counts
#: rather than bytes.
Work: TypeAlias = Literal["elementwise", "reductions", "matrices"]

#: A step well after the first ones, in which some methods do something else (RAdam's first five).
STEP = 100
FLOAT32 = 4
#: ``size`` is the number of elements: nothing is read for it.
_READING = REDUCTIONS - {"size"}


def graph_of(optimizer: RuleOptimizer, shape: Shape) -> Graph | None:
    """The graph of a usual step for a parameter of this shape; None where it calls functions of stacks."""
    method, groups = optimizer.method, optimizer.param_groups
    group = next((group for group in groups if any(p.ndim == len(shape) for p in group["params"])), groups[0])
    given: dict[str, float | None] = {
        "step": STEP,
        "first": 0.0,
        "whole_step": STEP,
        "largest_lr": group.get("lr") or 0.0,
    }
    given |= {"grad_scale": None, "rounding_seed": None}
    options = {name: group[name] for name in method.hypers} | given
    graph = method.trace(options, shape, optimizer.composition.transforms, extras=frozenset(method.extras))
    return None if graph.trace.calls else graph


def work_of(optimizer: object, shapes: Iterable[Shape]) -> Work:
    """What sort of work a step is for parameters of these shapes."""
    if not isinstance(optimizer, RuleOptimizer):
        return "matrices"
    graphs = [graph_of(optimizer, shape) for shape in set(shapes)]
    if any(graph is None for graph in graphs):
        return "matrices"
    values = (value for graph in graphs if graph is not None for value in graph.values)
    return "reductions" if any(value.op in _READING for value in values) else "elementwise"


def bytes_moved(optimizer: object, shapes: Iterable[Shape]) -> int:
    """Bytes of float32 that a step must read and write for parameters of these shapes; 0 where it is not known."""
    if not isinstance(optimizer, RuleOptimizer):
        return 0
    counts: dict[Shape, int] = {}
    total = 0
    for shape in shapes:
        if shape not in counts:
            graph = graph_of(optimizer, shape)
            counts[shape] = _declared(optimizer, shape) if graph is None else _touched(graph, shape)
        total += counts[shape]
    return FLOAT32 * total


def _touched(graph: Graph, shape: Shape) -> int:
    read = [Extent(v.level, v.every) for v in graph.values if v.op == "input" and v.level <= Level.TENSOR]
    return sum(numbers(extent.level, shape, extent.every) for extent in (*read, *graph.extents.values()))


def _declared(optimizer: RuleOptimizer, shape: Shape) -> int:
    """Three for the weight and its gradient, two for each number of state."""
    import torch

    state = optimizer.state_bytes_of(Parameter(torch.empty(shape, device="meta")), optimizer.param_groups[0])
    return 3 * math.prod(shape) + 2 * state // FLOAT32


def numbers(level: Level, shape: Shape, every: int = 1) -> int:
    """How many numbers a buffer on this level holds for a parameter of this shape.

    Example:
        >>> [numbers(level, (6, 4)) for level in (Level.ELEMENT, Level.ROW, Level.TENSOR, Level.WHOLE, Level.HOST)]
        [24, 6, 1, 0, 0]
    """
    if level is Level.ELEMENT:
        return -(-math.prod(shape) // every)
    if level is Level.ROW:
        return shape[0] if shape else 1
    return 1 if level is Level.TENSOR else 0
