"""From parameters with gradients to work for an engine: one step of a method, assembled."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optim_core.engines.bucket import Bucket
from optim_core.engines.choice import Choice, choose, settle
from optim_core.engines.run import run
from optim_core.engines.tensors import compute_dtype
from optim_core.errors import EngineUnavailable
from optim_core.methods.method import Method
from optim_core.methods.parameter_step import Entry, place_of
from optim_core.methods.reuse import Crew, Standing
from optim_core.methods.stack import Stack
from optim_core.rules.calls import stages
from optim_core.rules.graph import Graph, Home
from optim_core.rules.options import split
from optim_core.rules.values import Level


class Update:
    """Runs a method's rule; keeps what it has traced.

    Args:
        method: the method.
        engine: the engine asked for, or ``"auto"``.
        foreach: for the eager engine, True for lists of tensors, False for tensor by tensor, None to choose.
    """

    def __init__(self, method: Method, engine: str, foreach: bool | None) -> None:
        self.method = method
        self.engine = engine
        self.foreach = foreach
        #: what steps have left assembled, that of the longest ago first: a rule may take several branches in turn
        self.standing: list[Standing] = []
        self._used: dict[int, str] = {}
        self._elements = 0
        self._graphs: dict[Hashable, list[Graph]] = {}

    def run(self, entries: Sequence[Entry], whole: Mapping[str, Tensor]) -> Sequence[Crew]:
        """Do one step for all entries; returns who has worked together, if the next step may go the same way."""
        self._elements = sum(e.p.numel() for e in entries)
        pairs: list[tuple[Bucket, Sequence[Entry]]] = []
        stacks: list[tuple[Graph, Mapping[str, float], Sequence[Entry]]] = []
        forms = functools.cache(lambda share, shape: self.method.shaped_state_levels(options[share], shape))
        options = {e.share: e.options for e in entries}
        for members in _groups(
            entries, lambda e: (e.share, e.transforms, e.p.dtype, e.p.device, forms(e.share, tuple(e.p.shape)))
        ):
            for graph, host, fitting in self._traced(members):
                if graph.trace.calls:
                    alike = _groups(fitting, lambda e: (e.p.shape, e.p.stride()))
                    stacks.extend((graph, host, stack) for several in alike for stack in self._stacks(several))
                else:
                    pairs.extend(self._buckets(graph, host, fitting))
        room: dict[Hashable, list[Tensor]] = {}
        for graph, host, stack in stacks:
            self._run_stack(graph, host, Stack(stack, room))
        run([bucket for bucket, _ in pairs], whole, foreach=self.foreach)
        if stacks or self.method.extras or not Standing.possible([e.param for e in entries]):
            return ()
        return [_crew(bucket, members) for bucket, members in pairs]

    def engine_of(self, param: Tensor, p: Tensor) -> str:
        """The engine that has updated a parameter, and why; before its first step, as far as can be told."""
        if id(param) in self._used:
            return self._used[id(param)]
        try:
            choice = choose(self.engine, self.foreach, {"p": p}, {"p": Home(Level.ELEMENT)}, compute_dtype(p))
        except EngineUnavailable as error:
            return str(error)
        return f"{self._described(choice)} (before the first step)"

    def stacks(self, options: Mapping[str, Any], shape: tuple[int, ...]) -> bool:
        """Whether the rule calls functions of stacks for a parameter of this shape."""
        return bool(self.method.trace(options, shape).trace.calls)

    def _traced(self, members: Sequence[Entry]) -> Iterator[tuple[Graph, Mapping[str, float], Sequence[Entry]]]:
        """The graphs that the members need, each with the host numbers and those who share it."""
        first = members[0]
        transforms = first.transforms
        host, fixed = split(first.options)
        extras, rounds = frozenset(first.extras), first.p.dtype is torch.bfloat16
        settings = self.method.composition_settings(first.options, transforms, rounds=rounds)
        buffers = self.method.buffers(first.options, tuple(first.p.shape), extras)

        def trace(shape: Sequence[int]) -> Graph:
            return self.method.trace(first.options, shape, transforms, extras=extras, rounds=rounds)

        left = list(members)
        while left:
            shape = left[0].p.shape
            graph = self._known((fixed, settings, tuple(buffers)), host, shape, trace)
            fitting = [e for e in left if graph.trace.fits(e.p.shape)]
            left = [e for e in left if not graph.trace.fits(e.p.shape)]
            yield graph, host, fitting

    def _buckets(
        self, graph: Graph, host: Mapping[str, float], members: Sequence[Entry], **more: Sequence[Tensor]
    ) -> Iterator[tuple[Bucket, Sequence[Entry]]]:
        """The members' buckets: one for each engine, and for each combination of types.

        Args:
            more: buffers beside the members' own, one tensor for each.
        """
        homes = {"p": Home(Level.ELEMENT), **graph.buffers}
        columns = {name: more.get(name) or [e.buffer(name) for e in members] for name in homes}
        real = compute_dtype(members[0].p)
        together: dict[Any, list[int]] = defaultdict(list)
        # most parameters look like one before them, and are chosen for alike
        choices: dict[Hashable, Choice] = {}
        for i, row in enumerate(zip(*columns.values(), strict=True)):
            looks = tuple(map(_look, row))
            if looks not in choices:
                tensors = dict(zip(columns, row, strict=True))
                choices[looks] = choose(self.engine, self.foreach, tensors, homes, real)
            together[choices[looks], tuple(x.dtype for x in row)].append(i)
        for (choice, _), places in together.items():
            buffers = {name: [column[i] for i in places] for name, column in columns.items()}
            bucket = Bucket(graph, host, buffers, real, choice.engine, choice.reason)
            settle(bucket, self.engine, self._elements)
            crew = [members[i] for i in places]
            self._used |= dict.fromkeys((id(e.param) for e in crew), self._described(bucket))
            yield bucket, crew

    @staticmethod
    def _described(choice: Bucket | Choice) -> str:
        calls = isinstance(choice, Bucket) and choice.graph.trace.calls
        return f"{choice.engine}: {choice.reason}{', around torch operations on stacks' if calls else ''}"

    def _known(
        self, key: Hashable, host: Mapping[str, float], shape: Sequence[int], make: Callable[[Sequence[int]], Graph]
    ) -> Graph:
        """The graph made under this key whose decisions hold, or a new one."""
        graphs = self._graphs.setdefault(key, [])
        for graph in graphs:
            if graph.trace.holds(host) and graph.trace.fits(shape):
                return graph
        graphs.append(make(shape))
        del graphs[:-_KEPT]
        return graphs[-1]

    # functions of stacks ------------------------------------------------------------------------------------
    def _stacks(self, members: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
        """Members of one shape, as many at a time as may be stacked."""
        room = _STACK_BYTES if members[0].p.device.type == "cpu" else _DEVICE_STACK_BYTES
        size = max(members[0].nbytes, 4 * members[0].p.nbytes)  # arguments and results are as large as parameters
        most = 1 if self.foreach is False else max(1, room // size)
        return (members[start : start + most] for start in range(0, len(members), most))

    def _run_stack(self, graph: Graph, host: Mapping[str, float], stack: Stack) -> None:
        """Do one step for parameters of one shape: what engines do, with functions of stacks in between."""
        for stage in stages(graph):
            if stage.before is not None:
                self._run_on(
                    stage.before, host, stack, {name: stack.place(name, x) for name, x in stage.before.outputs.items()}
                )
            stack.call(stage, host)
        self._run_on(graph, host, stack, {})
        for name, value in graph.own.items():
            stack.write(name, value)
        stack.leave()

    def _run_on(self, graph: Graph, host: Mapping[str, float], stack: Stack, places: Mapping[str, Tensor]) -> None:
        more = {name: list(x) for name, x in {**stack.results(graph), **places}.items()}
        run([bucket for bucket, _ in self._buckets(graph, host, stack.members, **more)], {}, foreach=self.foreach)


def _look(x: Tensor) -> Hashable:
    """All that an engine goes by."""
    return type(x), x.dtype, x.device, x.layout, x.shape, x.stride(), x.is_neg(), x.is_conj()


#: How many graphs are kept for one set of options: a rule may branch on a number that differs at every step.
_KEPT = 64

#: Bytes of parameters of one shape, with their states, that are stacked for one call: on a CPU more only leave its
#: caches; a GPU wants large calls.
_STACK_BYTES, _DEVICE_STACK_BYTES = 1 << 25, 1 << 28


def _groups(entries: Iterable[Entry], key: Callable[[Entry], Hashable]) -> Iterable[list[Entry]]:
    together: dict[Hashable, list[Entry]] = defaultdict(list)
    for e in entries:
        together[key(e)].append(e)
    return together.values()


def _crew(bucket: Bucket, members: Sequence[Entry]) -> Crew:
    names = [name for name in bucket.buffers if name not in ("p", "g")]
    places = {name: ([e.home(name) for e in members], *place_of(name)) for name in names}
    fixed = split(members[0].options)[1]
    states: list[Any] = [e.states for e in members]
    crew = Crew(bucket, members[0].group, [e.param for e in members], states, fixed, places)
    crew.release()
    return crew
