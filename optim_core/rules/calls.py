"""A graph with calls of functions of stacks, cut into what the engines do before each call and after the last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from optim_core.rules.graph import Extent, Graph
from optim_core.rules.trace import Call
from optim_core.rules.values import Level, Value


@dataclass(frozen=True, eq=False)
class CallSegment:
    """A call, and what must be computed for it.

    Attributes:
        call: the call.
        before: computes those arguments that are neither at hand nor in a shape of their own; or None.
        places: names of the buffers that this call or an earlier one writes, by the value that goes there.
    """

    call: Call
    before: Graph | None
    places: Mapping[Value, str]


def call_segments(graph: Graph) -> tuple[CallSegment, ...]:
    """The calls of a graph in order; what follows the last one is the graph itself, with their results as buffers."""
    segments: tuple[CallSegment, ...] | None = graph.plans.get("call segments")
    if segments is None:
        segments = graph.plans["call segments"] = tuple(_segments(graph))
    return segments


def _segments(graph: Graph) -> Iterator[CallSegment]:
    at_hand: set[Value] = set()
    places: dict[Value, str] = {}
    for call in graph.trace.calls:
        arguments = {x for x in call.tensors if x is not None and x.level is not Level.OWN} - at_hand
        names = {x: f"argument{x.index}" for x in sorted(arguments, key=lambda x: x.index)}
        outputs = {name: x for x, name in names.items()}
        extents = dict.fromkeys(outputs, Extent(Level.ELEMENT))
        before = Graph(outputs, {}, graph.trace, extents, places=graph.places) if outputs else None
        places |= names
        yield CallSegment(call, before, dict(places))
        at_hand |= arguments | set(call.results)
