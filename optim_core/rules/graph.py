"""Graph: what a trace leaves, the new value of every buffer, and the order in which to compute it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from optim_core.rules.arithmetic import REDUCTIONS
from optim_core.rules.trace import Trace
from optim_core.rules.values import Level, Value


class Extent(NamedTuple):
    """The numbers that a buffer holds: their level, and on ELEMENT n if only every n-th has one."""

    level: Level
    every: int = 1


class Access(NamedTuple):
    """How a parameter's memory is gone over.

    Attributes:
        homes: where each buffer lives, ``p`` among them.
        by_rows: anything has one number per row, so that each row's elements have to be found together.
        in_order: elements are counted or sampled, so that they have to be found in the order of their indices.
    """

    homes: Mapping[str, Extent]
    by_rows: bool = False
    in_order: bool = False


class Place(NamedTuple):
    """The place where the tensor behind a buffer is found.

    Attributes:
        name: of the state, of the extra input, or of what a transform keeps; or ``p``, ``g``.
        position: among the tensors of a state that is several; None where it is one.
        transform: the position of the transform that keeps it; None for what is the method's own.
    """

    name: str
    position: int | None = None
    transform: int | None = None


@dataclass(frozen=True, eq=False)
class Graph:
    """The update of a parameter as an expression graph; ``print`` lists it, level by level.

    Attributes:
        outputs: the new value of each buffer that is written (``p`` and states below level WHOLE), by name.
        whole: the same for states on level WHOLE.
        trace: where the values come from; knows the decisions that the graph rests on.
        extents: the extent of each buffer in ``outputs``.
        own: the new values of states in shapes of their own, by name.
        places: where buffers are found that are not simply called what their state is; see :meth:`place`.
        plans: what engines have prepared for this graph, by keys of their own.
    """

    outputs: Mapping[str, Value]
    whole: Mapping[str, Value]
    trace: Trace = field(repr=False)
    extents: Mapping[str, Extent]
    own: Mapping[str, Value] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict, repr=False)
    plans: dict[Any, Any] = field(default_factory=dict, repr=False)

    def place(self, buffer: str) -> Place:
        """The place where the tensor behind a buffer is found."""
        return self.places.get(buffer, Place(buffer))

    @cached_property
    def values(self) -> list[Value]:
        """Everything needed, operands first.

        Totals always are: another parameter's graph may use what this one's has no use for.
        """
        return order([*self.outputs.values(), *self.whole.values(), *self.trace.totals])

    @cached_property
    def shared(self) -> list[Value]:
        """The values that all parameters share, operands first."""
        return [v for v in self.values if not is_local(v)]

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """For each total, the number of passes over memory before its own: a total of a total needs a later one."""
        depth: dict[int, int] = {}
        for value in self.values:
            depth[value.index] = max((depth[a.index] + (a.op == "sum") for a in value.args), default=0)
        return tuple(depth[t.index] for t in self.trace.totals)

    @cached_property
    def passes(self) -> tuple[tuple[int, ...], ...]:
        """The passes over memory that sum: for each, the positions of the totals that it computes."""
        return tuple(tuple(i for i, d in enumerate(self.depths) if d == depth) for depth in sorted(set(self.depths)))

    @cached_property
    def sliceable(self) -> bool:
        """True if elements can be worked on in any portions: no rows, no tensors, no samples, no places."""
        portions = all(v.level in (Level.ELEMENT, Level.WHOLE, Level.HOST) for v in self.values)
        return portions and not self.access.in_order

    @cached_property
    def access(self) -> Access:
        """How the code for this graph goes over a parameter's memory."""
        homes = {"p": Extent(Level.ELEMENT), **self.buffers}
        extents = [*homes.values(), *(Extent(v.level, v.every) for v in self.values)]
        return Access(
            homes,
            by_rows=any(level is Level.ROW for level, _ in extents),
            in_order=any(every > 1 for _, every in extents) or any(v.op == "uniform" for v in self.values),
        )

    @cached_property
    def buffers(self) -> dict[str, Extent]:
        """The buffers that are read or written for each parameter."""
        read = {v.name: Extent(v.level, v.every) for v in self.values if v.op == "input" and is_local(v)}
        return read | dict(self.extents)

    def __str__(self) -> str:
        return "\n".join(self._listing())

    def _listing(self) -> Iterator[str]:
        for fact, number in self.trace.shape_facts.items():
            yield f"SHAPE    {fact.__name__}(shape) == {number}"
        for guard in self.trace.guards:
            yield f"GUARD    {guard.kind.__name__}({guard.value!r}) == {guard.outcome!r}"
        for call in self.trace.calls:
            results, arguments = (", ".join(map(repr, values)) for values in (call.results, call.tensors))
            yield f"CALL     {results} = {call.function.__name__}({arguments})"
        text = {v.index: f"v{v.index}" if v.args else repr(v) for v in self.values}
        for v in (v for v in self.values if v.args):
            yield f"{v.level.name:<8} v{v.index} = {v.op}({', '.join(text[a.index] for a in v.args)})"
        for name, v in {**self.outputs, **self.whole, **self.own}.items():
            yield f"WRITE    {name} <- {text.get(v.index, repr(v))}"


def is_local(value: Value) -> bool:
    """True if each parameter has such a value of its own, False if all share one."""
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


def reach(graph: Graph) -> Level:
    """How far what becomes of an element depends on others: on itself (ELEMENT), on its tensor, or on all (WHOLE).

    What is the same everywhere without being reduced, such as a count, depends on nobody.
    """
    if graph.trace.totals:
        return Level.WHOLE
    values = order(graph.outputs.values())
    by_tensor = any(v.op in REDUCTIONS or v.every != 1 or v.level is Level.OWN for v in values)
    return Level.TENSOR if by_tensor or graph.trace.calls or graph.trace.shape_facts else Level.ELEMENT
