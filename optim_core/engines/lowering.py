"""From a graph to loops: what an engine with kernels of its own computes, where, and in how many sweeps.

A *program* is one pass over the parameters: one that computes totals, or the one that writes. It is a row of *sweeps*,
each of which reads all elements of a tensor, and of *stages*, which compute the values that a tensor has one of::

    stage 0    sweep 0    stage 1    sweep 1    ...    sweep n - 1    stage n

A norm of the whole tensor is known only when all elements have been read. So what needs it waits for the next stage
or sweep, and a norm of something that depends on another norm costs one more sweep. A later sweep computes again what
an earlier one has computed: that costs less than to store it.

A norm of a row needs no sweep of its own, since a row is read again while it is still in a cache. A sweep that knows
rows takes them one by one: a *loop* over the row's elements for its norms, another one for norms that depend on those,
and a last one that writes.

Example:
    A step in the direction of the gradient g, lr times as long as the parameter p, takes two sweeps. The first one
    reads all elements for the two norms; the second one reads them again, and writes p (v2 is lr):

    >>> from optim_core.engines.text import program_text
    >>> from optim_core.rules import norm
    >>> from optim_core.rules.graph import Graph, Extent
    >>> from optim_core.rules.trace import Trace
    >>> trace = Trace({"lr": 0.1})
    >>> p, g, lr = trace.input("p", Level.ELEMENT), trace.input("g", Level.ELEMENT), trace.input("lr", Level.HOST)
    >>> new = p - lr * (norm(p) / norm(g)) * g
    >>> print(program_text(update_program(Graph({"p": new}, {}, trace, {"p": Extent(Level.ELEMENT)}))))
    stage 0, for each tensor
        nothing
    sweep 0, over all elements
        for each element
            v0 = p
            v1 = g
            accumulate norm(v0) for v3
            accumulate norm(v1) for v4
    stage 1, for each tensor
        v3 = norm(v0), accumulated in sweep 0
        v4 = norm(v1), accumulated in sweep 0
        v5 = v3 / v4
        v6 = v2 * v5
    sweep 1, over all elements
        for each element
            v0 = p
            v1 = g
            v7 = v6 * v1
            v8 = v0 - v7
            write v8 to p
    stage 2, for each tensor
        nothing
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from optim_core.rules.arithmetic import REDUCTIONS
from optim_core.rules.graph import Extent, Graph, is_local, order
from optim_core.rules.values import Level, Value


@dataclass(frozen=True)
class Output:
    """A buffer that is written, and its new value, which may live on a coarser level than the buffer."""

    name: str
    home: Extent
    value: Value


@dataclass(frozen=True)
class Loop:
    """A loop over elements: those of a chunk of a tensor, or those of a row.

    Attributes:
        every: 1 for all of them, n for every n-th.
        reductions: what it accumulates.
        outputs: what it writes.
    """

    every: int
    reductions: tuple[Value, ...]
    outputs: tuple[Output, ...] = ()

    @cached_property
    def values(self) -> list[Value]:
        """The values that it computes for each element, operands first."""
        return order(roots(self.reductions, self.outputs), enter=lambda v: v.level is Level.ELEMENT)


@dataclass(frozen=True)
class RowStep:
    """A part of the work on one row: a loop over its elements, if there is anything to reduce, and what follows.

    Attributes:
        reductions: over the row's elements, all in one loop.
        values: what can be computed for the row then, these reductions included, operands first.
        tensors: reductions over the whole tensor that the loop has all operands of, and accumulates too.
    """

    reductions: tuple[Value, ...]
    values: tuple[Value, ...]
    tensors: tuple[Value, ...]

    @property
    def loop(self) -> Loop | None:
        """The loop over the row's elements."""
        return Loop(1, (*self.reductions, *self.tensors)) if self.reductions else None


@dataclass(frozen=True)
class Sweep:
    """One pass over the elements.

    Attributes:
        rows: the work on each row before its last loops; empty if the sweep knows no rows.
        reductions: accumulated over the tensor: reductions to level TENSOR, and totals (this tensor's part).
        outputs: what is written to buffers on the levels ELEMENT and ROW.
    """

    rows: tuple[RowStep, ...]
    reductions: tuple[Value, ...]
    outputs: tuple[Output, ...]

    @cached_property
    def roots(self) -> list[Value]:
        """The values that it must compute."""
        return roots(self.reductions, self.outputs)

    @cached_property
    def loops(self) -> tuple[Loop, ...]:
        """The last loops, over each row's elements or else the chunk's; the one over all of them is the last.

        A sampled state is written from old values of full ones, so its loop goes first.
        """
        early = {r.index for step in self.rows for r in step.tensors}
        reductions = [r for r in self.reductions if r.index not in early and finest(r.args) is Level.ELEMENT]
        outputs = [out for out in self.outputs if out.home.level is Level.ELEMENT]
        return tuple(
            Loop(
                every,
                tuple(r for r in reductions if sampling(r) == every),
                tuple(out for out in outputs if out.home.every == every),
            )
            for every in sorted({*map(sampling, reductions), *(out.home.every for out in outputs)}, reverse=True)
        )

    @cached_property
    def row_reductions(self) -> tuple[Value, ...]:
        """The reductions over the tensor that add up one number per row."""
        return tuple(r for r in self.reductions if finest(r.args) is Level.ROW)

    @cached_property
    def row_outputs(self) -> tuple[Output, ...]:
        """The outputs on level ROW."""
        return tuple(out for out in self.outputs if out.home.level is Level.ROW)


@dataclass(frozen=True)
class Program:
    """One pass over the parameters.

    Attributes:
        sweeps: the passes over the elements, in order; none if everything is on level TENSOR.
        stages: what is computed for each tensor before the first sweep, between two, and after the last.
        scalars: values that all parameters share and that the code reads, constants apart.
        totals: the totals that it computes.
        outputs: what is written to buffers on level TENSOR, in the last stage.
        buffers: the buffers that it reads or writes, by name.
        values: everything on the levels ELEMENT, ROW and TENSOR, operands first.
    """

    sweeps: tuple[Sweep, ...]
    stages: tuple[tuple[Value, ...], ...]
    scalars: tuple[Value, ...]
    totals: tuple[Value, ...]
    outputs: tuple[Output, ...]
    buffers: Mapping[str, Extent]
    values: tuple[Value, ...]

    @cached_property
    def reductions(self) -> tuple[Value, ...]:
        """All that is accumulated over tensors, sweep by sweep."""
        return tuple(r for sweep in self.sweeps for r in sweep.reductions)

    @cached_property
    def tensor_values(self) -> tuple[Value, ...]:
        """All that is computed for each tensor, stage by stage."""
        return tuple(v for stage in self.stages for v in stage)

    @cached_property
    def by_rows(self) -> bool:
        """True if any sweep works row by row."""
        return any(sweep.rows for sweep in self.sweeps)

    def stage_outputs(self, stage: int) -> tuple[Output, ...]:
        """The outputs that a stage writes; only the last one writes any."""
        return self.outputs if stage == len(self.stages) - 1 else ()


# facts about values ----------------------------------------------------------------------------------------------
def finest(values: Iterable[Value]) -> Level:
    """The finest level among some values."""
    return min(v.level for v in values)


def sampling(reduction: Value) -> int:
    """1 if the reduction runs over all elements, n if over every n-th."""
    return max(a.every for a in reduction.args)


def count(reduction: Value, division: str) -> str:
    """The number of operands of a reduction, as text.

    Args:
        reduction: the reduction.
        division: how the language divides integers; it knows a tensor's ``size``, and the ``width`` of its rows.
    """
    if reduction.level is Level.ROW:
        return "width"
    if finest(reduction.args) is Level.ROW:
        return f"size {division} width"
    every = sampling(reduction)
    return "size" if every == 1 else f"(size + {every - 1}) {division} {every}"


def is_accumulated(value: Value) -> bool:
    """True if the value is accumulated from many others: a reduction that is more than a count."""
    return value.op in REDUCTIONS and value.op != "size"


def roots(reductions: Iterable[Value], outputs: Iterable[Output]) -> list[Value]:
    """The values that must be computed for some reductions and outputs."""
    return [*(a for r in reductions for a in r.args), *(out.value for out in outputs)]


# planning --------------------------------------------------------------------------------------------------------
def update_program(graph: Graph) -> Program:
    """The pass that writes."""
    return _program([Output(name, graph.extents[name], value) for name, value in graph.outputs.items()], ())


def total_program(graph: Graph, pass_totals: Sequence[int]) -> Program:
    """The pass that computes some of the graph's totals, given by position."""
    return _program([], tuple(graph.trace.totals[i] for i in pass_totals))


def _program(outputs: Sequence[Output], totals: tuple[Value, ...]) -> Program:
    targets = [*(out.value for out in outputs), *(t.args[0] for t in totals)]
    values = order(targets, enter=is_local)
    stage = tensor_stages(values)
    sweeps = _sweeps(values, stage, [out for out in outputs if out.home.level < Level.TENSOR], totals)
    tensors = [v for v in values if v.level is Level.TENSOR]
    shared = [v for v in (*targets, *(a for v in values for a in v.args)) if not is_local(v)]
    return Program(
        sweeps=sweeps,
        stages=tuple(tuple(v for v in tensors if stage[v.index] == k) for k in range(len(sweeps) + 1)),
        scalars=tuple({v.index: v for v in shared if v.op != "constant"}.values()),
        totals=totals,
        outputs=tuple(out for out in outputs if out.home.level is Level.TENSOR),
        buffers={v.name: Extent(v.level, v.every) for v in values if v.op == "input"}
        | {out.name: out.home for out in outputs},
        values=tuple(values),
    )


def tensor_stages(values: Sequence[Value]) -> dict[int, int]:
    """By index, how many sweeps must come before each value: the number of the stage, or the sweep, that computes it.

    In the example above these are 0 for p and g, 1 for their norms, 1 for the new p.
    """
    return _depths(values, _needs_sweep)


def _sweeps(
    values: Sequence[Value], stage: Mapping[int, int], outputs: Sequence[Output], totals: Sequence[Value]
) -> tuple[Sweep, ...]:
    """The sweeps: each reduction as early as it can be, all outputs in the last one."""
    number = {r: stage[r.index] - 1 for r in values if _needs_sweep(r)}
    # a total of numbers that tensors have is added up without a sweep
    number |= {t: stage[t.args[0].index] for t in totals if t.args[0].level is not Level.TENSOR}
    last = max([*number.values(), *(stage.get(out.value.index, 0) for out in outputs)], default=-1)
    reductions = (tuple(r for r, k in number.items() if k == n) for n in range(last + 1))
    return tuple(_sweep(some, tuple(outputs) if n == last else ()) for n, some in enumerate(reductions))


def _sweep(reductions: tuple[Value, ...], outputs: tuple[Output, ...]) -> Sweep:
    inside = order(roots(reductions, outputs), enter=lambda v: v.level <= Level.ROW)
    loops = _depths(inside, _needs_row_loop)
    rows = [v for v in inside if v.level is Level.ROW]
    # the loop in which a reduction over the tensor finds its operands; a loop over all elements can take it along
    places = {r: 1 + max(loops.get(a.index, 0) for a in r.args) for r in reductions}
    full = [r for r in reductions if finest(r.args) is Level.ELEMENT and sampling(r) == 1]
    steps = []
    for k in range(1 + max((loops[v.index] for v in rows), default=-1)):
        now = tuple(v for v in rows if loops[v.index] == k)
        reduced = tuple(filter(_needs_row_loop, now))
        steps.append(RowStep(reduced, now, tuple(r for r in full if reduced and places[r] == k)))
    if not steps and any(out.home.level is Level.ROW for out in outputs):
        steps.append(RowStep((), (), ()))
    return Sweep(tuple(steps), reductions, outputs)


def _depths(values: Sequence[Value], counts: Callable[[Value], bool]) -> dict[int, int]:
    """By index, the largest number of values that count on the way to each value, itself included."""
    depths: dict[int, int] = {}
    for v in values:
        depths[v.index] = max((depths.get(a.index, 0) for a in v.args), default=0) + counts(v)
    return depths


def _needs_sweep(value: Value) -> bool:
    return value.level is Level.TENSOR and is_accumulated(value)


def _needs_row_loop(value: Value) -> bool:
    return value.level is Level.ROW and is_accumulated(value)


#: Operations that mix two values; the last operand is the weight of the second, one without that of the first.
AVERAGES = frozenset({"lerp", "average_of_squares"})


# what code must load -----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Reads:
    """All that the code for some values reads, beside buffers of elements and rows.

    Attributes:
        coarser: values of tensors, and values that all parameters share; constants apart.
        weights: the weights of averages that all parameters share, constants included.
        constants: the constants.
    """

    coarser: tuple[Value, ...]
    weights: tuple[Value, ...]
    constants: tuple[Value, ...]


def reads(targets: Iterable[Value], own: Collection[int] = ()) -> Reads:
    """All that the code for some values reads; it computes values of elements and rows, and of a tensor its ``own``."""
    inside: set[int] = set()
    coarser: dict[int, Value] = {}
    weights: dict[int, Value] = {}
    constants: dict[int, Value] = {}
    stack = list(targets)
    while stack:
        v = stack.pop()
        if v.op == "constant":
            constants[v.index] = v
        elif not (v.index in own or v.level <= Level.ROW):
            coarser[v.index] = v
        elif v.index not in inside:
            inside.add(v.index)
            # what a reduction to the tensor gathers has been computed before; a count does not even look at it
            stack += [] if v.level is Level.TENSOR and v.op in REDUCTIONS else v.args
            if v.op in AVERAGES and not is_local(v.args[2]):
                weights[v.args[2].index] = v.args[2]
    return Reads(*(tuple(by_index[k] for k in sorted(by_index)) for by_index in (coarser, weights, constants)))
