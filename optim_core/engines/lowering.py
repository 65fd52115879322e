"""From a graph to loops: what an engine with kernels of its own computes where, and in how many sweeps.

A *program* is one pass over the parameters: one that computes totals, or the one that writes. Reductions to one
number a tensor cut it into *sweeps*, each of which reads all elements; between two sweeps the numbers that a tensor
has (level TENSOR) are computed in a *stage*. A later sweep computes anew what an earlier one has computed, which costs
less than storing it. Reductions to one number a row need no sweep of their own: a row is read again while it
is still in a cache.

::

    stage 0    sweep 1    stage 1    sweep 2    ...    sweep n    stage n
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from optim_core.rules.arithmetic import REDUCTIONS
from optim_core.rules.graph import Extent, Graph, is_local, order
from optim_core.rules.values import Level, Value


@dataclass(frozen=True)
class RowStep:
    """A part of the work on one row.

    Attributes:
        reductions: over the row's elements, all in one loop.
        values: what can be computed for the row then, operands first.
        tensors: reductions over the whole tensor that the loop has all operands for, and accumulates too.
    """

    reductions: tuple[Value, ...]
    values: tuple[Value, ...]
    tensors: tuple[Value, ...] = ()


@dataclass(frozen=True)
class Output:
    """A buffer that is written, and its new value, which may live on a coarser level than the buffer."""

    name: str
    home: Extent
    value: Value


@dataclass(frozen=True)
class Sweep:
    """One pass over the elements.

    Attributes:
        rows: the work on each row before its last loop; empty if the sweep knows no rows.
        reductions: accumulated over the tensor: reductions to level TENSOR, and totals (this tensor's part).
        outputs: what is written to buffers on the levels ELEMENT and ROW.
    """

    rows: tuple[RowStep, ...]
    reductions: tuple[Value, ...]
    outputs: tuple[Output, ...]

    @cached_property
    def last(self) -> tuple[Value, ...]:
        """The reductions that are accumulated in the last loops."""
        early = {r.index for step in self.rows for r in step.tensors}
        return tuple(r for r in self.reductions if r.index not in early)

    @cached_property
    def domains(self) -> list[int]:
        """The portions of elements that are looped over, every n-th each; all of them come last.

        A sampled state is written from old values of full ones, so its loop goes first.
        """
        found = {domain_of(r) for r in self.last if finest(r.args) is Level.ELEMENT}
        found |= {out.home.every for out in self.outputs if out.home.level is Level.ELEMENT}
        return sorted(found, reverse=True)


@dataclass(frozen=True)
class Program:
    """One pass over the parameters.

    Attributes:
        sweeps: the loops, in order; none if everything is on level TENSOR.
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
        """Whether any sweep works row by row."""
        return any(sweep.rows for sweep in self.sweeps)


def finest(values: Iterable[Value]) -> Level:
    """The finest level among some values."""
    return min(v.level for v in values)


def domain_of(reduction: Value) -> int:
    """1 if the reduction runs over all elements, n if over every n-th."""
    return max(a.every for a in reduction.args)


def update_program(graph: Graph) -> Program:
    """The pass that writes."""
    return _program([Output(name, graph.extents[name], value) for name, value in graph.outputs.items()], ())


def total_program(graph: Graph, together: Sequence[int]) -> Program:
    """The pass that computes some of the graph's totals, given by position."""
    return _program([], tuple(graph.trace.totals[i] for i in together))


def _program(outputs: Sequence[Output], totals: tuple[Value, ...]) -> Program:
    roots = [*(out.value for out in outputs), *(t.args[0] for t in totals)]
    values = order(roots, enter=is_local)
    stage = _stages(values)
    stored = tuple(out for out in outputs if out.home.level < Level.TENSOR)
    due = {v: stage[v.index] for v in values if _is_sweep(v)}
    due |= {t: stage[t.args[0].index] + 1 for t in totals if t.args[0].level is not Level.TENSOR}
    last = max(due.values(), default=0)
    last = max([last, *(stage.get(out.value.index, 0) + 1 for out in stored)])
    sweeps = tuple(
        _sweep(tuple(r for r, k in due.items() if k == number), stored if number == last else ())
        for number in range(1, last + 1)
    )
    tensors = [v for v in values if v.level is Level.TENSOR]
    shared = [v for v in (*roots, *(a for v in values for a in v.args)) if not is_local(v)]
    return Program(
        sweeps=sweeps,
        stages=tuple(tuple(v for v in tensors if stage[v.index] == k) for k in range(last + 1)),
        scalars=tuple({v.index: v for v in shared if v.op != "constant"}.values()),
        totals=totals,
        outputs=tuple(out for out in outputs if out.home.level is Level.TENSOR),
        buffers={v.name: Extent(v.level, v.every) for v in values if v.op == "input"}
        | {out.name: out.home for out in outputs},
        values=tuple(values),
    )


def _is_sweep(value: Value) -> bool:
    """Whether the value is a reduction that needs a sweep over the tensor."""
    return value.level is Level.TENSOR and is_accumulated(value)


def _stages(values: Sequence[Value]) -> dict[int, int]:
    """After how many sweeps each value can be computed (in the next one, for values of elements and rows)."""
    stage: dict[int, int] = {}
    for v in values:
        stage[v.index] = max((stage[a.index] for a in v.args if is_local(a)), default=0) + _is_sweep(v)
    return stage


def _sweep(reductions: tuple[Value, ...], outputs: tuple[Output, ...]) -> Sweep:
    roots = [*(a for r in reductions for a in r.args), *(out.value for out in outputs)]
    inside = order(roots, enter=lambda v: v.level <= Level.ROW)
    # how many loops over the row's elements come before each value
    depth: dict[int, int] = {}
    for v in inside:
        depth[v.index] = max((depth[a.index] for a in v.args if a.level <= Level.ROW), default=0) + _is_row_loop(v)
    rows = [v for v in inside if v.level is Level.ROW]
    # the loop in which a reduction over the tensor finds its operands
    loop = {r: 1 + max((depth[a.index] for a in r.args if a.level <= Level.ROW), default=0) for r in reductions}
    full = [r for r in reductions if finest(r.args) is Level.ELEMENT and domain_of(r) == 1]
    steps = []
    for k in range(max((depth[v.index] for v in rows), default=-1) + 1):
        now = tuple(v for v in rows if depth[v.index] == k)
        loops = tuple(v for v in now if _is_row_loop(v))
        steps.append(RowStep(loops, now, tuple(r for r in full if loops and loop[r] == k)))
    if not steps and any(out.home.level is Level.ROW for out in outputs):
        steps.append(RowStep((), ()))
    return Sweep(tuple(steps), reductions, outputs)


def _is_row_loop(value: Value) -> bool:
    return value.level is Level.ROW and is_accumulated(value)


def loop_values(roots: Iterable[Value]) -> list[Value]:
    """What a loop over elements computes for some roots, operands first."""
    return order(roots, enter=lambda v: v.level is Level.ELEMENT)


def is_accumulated(value: Value) -> bool:
    """Whether the value is gathered from many others: a reduction that is more than a count."""
    return value.op in REDUCTIONS and value.op != "size"


@dataclass(frozen=True)
class Reads:
    """What the code for some values reads, beside buffers of elements and rows.

    Attributes:
        coarser: values of tensors, and values that all parameters share; constants apart.
        weights: the weights of lerps that all parameters share, constants included.
        constants: the constants.
    """

    coarser: tuple[Value, ...]
    weights: tuple[Value, ...]
    constants: tuple[Value, ...]


def reads(roots: Iterable[Value], own: Collection[int] = ()) -> Reads:
    """Look through the code for some roots: it computes values of elements and rows, and of a tensor its ``own``."""
    inside: set[int] = set()
    coarser: dict[int, Value] = {}
    weights: dict[int, Value] = {}
    constants: dict[int, Value] = {}
    stack = list(roots)
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
            if v.op == "lerp" and not is_local(v.args[2]):
                weights[v.args[2].index] = v.args[2]
    return Reads(*(tuple(found[k] for k in sorted(found)) for found in (coarser, weights, constants)))
