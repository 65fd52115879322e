"""What a rule's graph tells: which values each new value is computed from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optim_core.methods.step import late_options
from optim_core.rules.graph import Graph, order
from optim_core.rules.values import Value
from optim_core.testing.subject import Subject


def graph_of(subject: Subject, shape: tuple[int, ...] = (3, 4), **options: Any) -> Graph:
    """The graph of a rule long after the start, for a parameter of a shape."""
    optimizer = subject.build(subject.params(shape), **options)
    group = optimizer.param_groups[0]
    graph: Graph = optimizer.method.trace(
        late_options(optimizer.method, group, optimizer.param_groups),
        shape,
        extras=frozenset(optimizer.method.extras),
    )
    return graph


def shares_nothing(subject: Subject) -> bool:
    """Whether each parameter's way is its own, as far as steps show, and the rule, if there is one."""
    if not subject.is_rule:
        return subject.is_separate
    method = subject.target.method
    if method.whole_states or method.counts_whole_steps or graph_of(subject).trace.totals:
        return False
    return subject.is_separate


def outputs(graph: Graph) -> Mapping[str, Value]:
    """Every new value, by the name of its buffer."""
    return {**graph.outputs, **graph.whole, **graph.own}


def inputs_of(graph: Graph, value: Value) -> set[str]:
    """The names of the buffers and numbers that a value is computed from, through functions of stacks too."""
    found: set[str] = set()
    pending, seen = [value], set()
    while pending:
        for v in order([pending.pop()]):
            if v.op != "input" or v.name in seen:
                continue
            seen.add(v.name)
            call = next((c for c in graph.trace.calls if any(r is v for r in c.results)), None)
            if call is None:
                found.add(v.name)
            else:
                pending += [x for x in call.tensors if x is not None]
                pending += [n for n in call.numbers.values() if isinstance(n, Value)]
    return found
