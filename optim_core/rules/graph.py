"""What a trace leaves: the new value of every buffer, and the order in which to compute it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from optim_core.rules.values import Level, Trace, Value


@dataclass(frozen=True, eq=False)
class Graph:
    """The update of a parameter as an expression graph.

    Attributes:
        outputs: the new value of each buffer that is written (``p`` and states below level WHOLE), by name.
        whole: the same for states on level WHOLE.
        trace: where the values come from; knows the decisions that the graph rests on.
        plans: what engines have prepared for this graph, by engine name.
    """

    outputs: Mapping[str, Value]
    whole: Mapping[str, Value]
    trace: Trace = field(repr=False)
    plans: dict[str, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def values(self) -> list[Value]:
        """Everything needed, operands first.

        Totals always are: another parameter's graph may use what this one's has no use for.
        """
        return order([*self.outputs.values(), *self.whole.values(), *self.trace.totals])

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """How many passes over memory must precede that of each total: a total of a total needs a later one."""
        depth: dict[int, int] = {}
        for value in self.values:
            depth[value.index] = max((depth[a.index] + (a.op == "sum") for a in value.args), default=0)
        return tuple(depth[t.index] for t in self.trace.totals)

    @cached_property
    def sliceable(self) -> bool:
        """Whether elements can be worked on in any portions: no rows, no tensors, no samples."""
        return all(v.level in (Level.ELEMENT, Level.WHOLE, Level.HOST) and v.every == 1 for v in self.values)

    @cached_property
    def buffers(self) -> dict[str, Level]:
        """Names of the buffers that are read or written for each parameter, with their levels."""
        read = {v.name: v.level for v in self.values if v.op == "input" and v.level <= Level.TENSOR}
        return read | {name: read.get(name, v.level) for name, v in self.outputs.items()}


def is_local(value: Value) -> bool:
    """Whether there is one such value for each parameter, rather than one for all."""
    return value.level <= Level.TENSOR


def order(roots: Iterable[Value], enter: Callable[[Value], bool] = lambda _: True) -> list[Value]:
    """The values under the roots, each once, operands before results; ``enter`` says which to look into."""
    seen: dict[int, Value] = {}
    stack = [v for v in roots if enter(v)]
    while stack:
        value = stack.pop()
        if value.index not in seen:
            seen[value.index] = value
            stack.extend(a for a in value.args if enter(a))
    return [seen[k] for k in sorted(seen)]
