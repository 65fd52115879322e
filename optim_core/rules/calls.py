"""A graph with calls of functions of stacks, cut into what the engines do before each call and after the last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from optim_core.rules.graph import Graph, Home
from optim_core.rules.trace import Call
from optim_core.rules.values import Level, Value


@dataclass(frozen=True, eq=False)
class Stage:
    """A call and what must be computed for it.

    Attributes:
        call: the call.
        before: computes those arguments that are neither at hand nor in a shape of their own; or None.
        places: names of the buffers that it or an earlier one writes, by the value that goes there.
    """

    call: Call
    before: Graph | None
    places: Mapping[Value, str]


def stages(graph: Graph) -> tuple[Stage, ...]:
    """The calls of a graph in order; what follows the last one is the graph itself, with their results as buffers."""
    known: tuple[Stage, ...] | None = graph.plans.get("stages")
    if known is None:
        known = graph.plans["stages"] = tuple(_stages(graph))
    return known


def _stages(graph: Graph) -> Iterator[Stage]:
    at_hand: set[Value] = set()
    places: dict[Value, str] = {}
    for call in graph.trace.calls:
        wanted = {x for x in call.tensors if x is not None and x.level is not Level.OWN} - at_hand
        new = {x: f"argument{x.index}" for x in sorted(wanted, key=lambda x: x.index)}
        outputs = {name: x for x, name in new.items()}
        before = Graph(outputs, {}, graph.trace, dict.fromkeys(outputs, Home(Level.ELEMENT))) if outputs else None
        places |= new
        yield Stage(call, before, dict(places))
        at_hand |= wanted | set(call.results)
