"""What a trace leaves: the new value of every buffer, and the order in which to compute it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from optim_core.rules.trace import Trace
from optim_core.rules.values import Level, Value


class Home(NamedTuple):
    """Where a buffer's numbers live: its level, and 1 or n for every n-th element only."""

    level: Level
    every: int = 1


@dataclass(frozen=True, eq=False)
class Graph:
    """The update of a parameter as an expression graph.

    Attributes:
        outputs: the new value of each buffer that is written (``p`` and states below level WHOLE), by name.
        whole: the same for states on level WHOLE.
        trace: where the values come from; knows the decisions that the graph rests on.
        homes: where each buffer in ``outputs`` lives.
        own: the new values of states in shapes of their own, by name.
        plans: what engines have prepared for this graph, by keys of their own.
    """

    outputs: Mapping[str, Value]
    whole: Mapping[str, Value]
    trace: Trace = field(repr=False)
    homes: Mapping[str, Home]
    own: Mapping[str, Value] = field(default_factory=dict)
    plans: dict[Any, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def values(self) -> list[Value]:
        """Everything needed, operands first.

        Totals always are: another parameter's graph may use what this one's has no use for.
        """
        return order([*self.outputs.values(), *self.whole.values(), *self.trace.totals])

    @cached_property
    def shared(self) -> list[Value]:
        """Values that all parameters share, operands first."""
        return [v for v in self.values if not is_local(v)]

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """How many passes over memory must precede that of each total: a total of a total needs a later one."""
        depth: dict[int, int] = {}
        for value in self.values:
            depth[value.index] = max((depth[a.index] + (a.op == "sum") for a in value.args), default=0)
        return tuple(depth[t.index] for t in self.trace.totals)

    @cached_property
    def passes(self) -> tuple[tuple[int, ...], ...]:
        """The passes over memory that sum: which totals each computes, by position."""
        return tuple(tuple(i for i, d in enumerate(self.depths) if d == depth) for depth in sorted(set(self.depths)))

    @cached_property
    def sliceable(self) -> bool:
        """Whether elements can be worked on in any portions: no rows, no tensors, no samples, no places."""
        return all(
            v.level in (Level.ELEMENT, Level.WHOLE, Level.HOST) and v.every == 1 and v.op != "uniform"
            for v in self.values
        )

    @cached_property
    def buffers(self) -> dict[str, Home]:
        """The buffers that are read or written for each parameter."""
        read = {v.name: Home(v.level, v.every) for v in self.values if v.op == "input" and is_local(v)}
        return read | dict(self.homes)


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
