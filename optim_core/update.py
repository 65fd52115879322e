"""From parameters with gradients to work for an engine: one step of a method, assembled."""

from __future__ import annotations

import typing
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from optim_core.errors import EngineUnavailable, RuleError
from optim_core.method import Method, scalars, split
from optim_core.rules.bucket import Bucket
from optim_core.rules.compose import Transform, around, compose
from optim_core.rules.engines import Choice, choose, settle
from optim_core.rules.graph import Graph, Home
from optim_core.rules.step import run
from optim_core.rules.values import Level, Trace
from optim_core.standing import Crew, Standing

_G = TypeVar("_G", bound="Graph | tuple[Graph, Graph | None]")
_LOW_PRECISION = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Entry:
    """A parameter's part in a step.

    Attributes:
        p, g: parameter and gradient; real views of them if they are complex.
        options: the options of its group and the given numbers, by name.
        share: what entries with equal options have in common.
        states: the parameter's states by name, on the levels below WHOLE.
        extras: its extra inputs by name.
        group: its parameter group.
        param: the parameter itself.
        kept: for each buffer that a transform keeps, the memory that holds it.
    """

    p: Tensor
    g: Tensor
    options: Mapping[str, Any]
    share: Hashable
    states: MutableMapping[str, Any]
    extras: Mapping[str, Tensor]
    group: dict[str, Any]
    param: Tensor
    kept: Mapping[str, dict[str, Tensor]]

    @property
    def nbytes(self) -> int:
        """Bytes of the parameter and its states."""
        lists = (x if isinstance(x, list) else [x] for x in self.states.values())
        return self.p.nbytes + sum(x.nbytes for several in lists for x in several if isinstance(x, Tensor))

    def buffer(self, name: str) -> Tensor:
        """The tensor behind a name of the graph."""
        if name == "p":
            return self.p
        if name == "g":
            return self.g
        if name in self.extras:
            return self.extras[name]
        if name in self.kept:
            return real(self.home(name)[name.rpartition(".")[2]])
        key, at = _place(name)
        return self.states[key] if at is None else self.states[key][at]  # type: ignore[no-any-return]

    def home(self, name: str) -> MutableMapping[str, Any]:
        """The dict that holds a buffer."""
        return self.kept.get(name, self.states)


def _place(name: str) -> tuple[str, int | None]:
    """Where a buffer is found in the dict that holds it: its key, and its position in a list."""
    if not name.endswith("]"):
        return name.rpartition(".")[2], None
    stem, _, index = name[:-1].rpartition("[")
    return stem, int(index)


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
        self._graphs: dict[Hashable, list[Any]] = {}

    def run(
        self, entries: Sequence[Entry], whole: Mapping[str, Tensor], transforms: tuple[Transform, ...]
    ) -> Sequence[Crew]:
        """Do one step for all entries; returns who has worked together, if the next step may go the same way."""
        self._elements = sum(e.p.numel() for e in entries)
        if self.method.batched_rule is not None:
            for members in _groups(entries, lambda e: (e.share, e.p.shape, e.p.dtype, e.p.device)):
                self._run_batched(members, transforms)
            return ()
        pairs = [
            pair
            for members in _groups(entries, lambda e: (e.share, e.p.dtype, e.p.device))
            for pair in self._traced(members, transforms)
        ]
        run([bucket for bucket, _ in pairs], whole, foreach=self.foreach)
        if self.method.extras or not Standing.possible([e.param for e in entries]):
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

    # rules that are traced ----------------------------------------------------------------------------------
    def _traced(
        self, members: Sequence[Entry], transforms: tuple[Transform, ...]
    ) -> Iterator[tuple[Bucket, Sequence[Entry]]]:
        first = members[0]
        host, fixed = split(first.options)
        settings = self.method.settings(first.options, transforms, rounds=first.p.dtype is torch.bfloat16)
        buffers = self.method.buffers(first.options, frozenset(first.extras))
        rule = typing.cast("Callable[..., Any]", self.method.rule)

        def trace(shape: Sequence[int]) -> Graph:
            blank = Trace(host, shape)
            named = scalars(first.options, blank)
            return compose(rule, blank, buffers, named, self.method.keywords, settings)

        left = list(members)
        while left:
            shape = left[0].p.shape
            graph: Graph = self._known((fixed, settings, tuple(buffers)), host, shape, trace)
            fitting = [e for e in left if graph.trace.fits(e.p.shape)]
            left = [e for e in left if not graph.trace.fits(e.p.shape)]
            yield from self._buckets(graph, host, fitting)

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
        for i, row in enumerate(zip(*columns.values(), strict=True)):
            tensors = dict(zip(columns, row, strict=True))
            choice = choose(self.engine, self.foreach, tensors, homes, real)
            together[choice, tuple(x.dtype for x in row)].append(i)
        for (choice, _), places in together.items():
            buffers = {name: [column[i] for i in places] for name, column in columns.items()}
            bucket = Bucket(graph, host, buffers, real, choice.engine, choice.reason)
            settle(bucket, self.engine, self._elements)
            crew = [members[i] for i in places]
            self._used |= dict.fromkeys((id(e.param) for e in crew), self._described(bucket))
            yield bucket, crew

    def _described(self, choice: Bucket | Choice) -> str:
        around = "" if self.method.batched_rule is None else ", around torch operations on stacks of matrices"
        return f"{choice.engine}: {choice.reason}{around}"

    def _known(
        self,
        key: Hashable,
        host: Mapping[str, float],
        shape: Sequence[int],
        make: Callable[[Sequence[int]], _G],
    ) -> _G:
        """The graph made under this key whose decisions hold, or a new one."""
        graphs = self._graphs.setdefault(key, [])
        for graph in graphs:
            if _trace_of(graph).holds(host) and _trace_of(graph).fits(shape):
                return graph  # type: ignore[no-any-return]
        graphs.append(make(shape))
        del graphs[:-_KEPT]
        return graphs[-1]  # type: ignore[no-any-return]

    # rules on stacks of tensors -----------------------------------------------------------------------------
    def _run_batched(self, members: Sequence[Entry], transforms: tuple[Transform, ...]) -> None:
        first = members[0]
        host, fixed = split(first.options)
        settings = self.method.settings(first.options, transforms)

        def trace(shape: Sequence[int]) -> tuple[Graph, Graph | None]:
            blank = Trace(host, shape)
            return around(blank, scalars(first.options, blank), settings)

        before, after = self._known((fixed, settings), host, first.p.shape, trace)
        size = max(1, first.nbytes)
        most = 1 if self.foreach is False else max(1, _STACK_BYTES // size)
        for start in range(0, len(members), most):
            self._run_stack(members[start : start + most], host, before, after)

    def _run_stack(
        self,
        members: Sequence[Entry],
        host: Mapping[str, float],
        before: Graph,
        after: Graph | None,
    ) -> None:
        dtype = compute_dtype(members[0].p)
        gradients = [e.g for e in members]
        if "gradient" in before.outputs:
            gradients = [torch.empty_like(e.p, dtype=dtype) for e in members]
        if before.outputs:
            self._around(before, host, members, gradient=gradients)
        keywords = {name: members[0].options[name] for name in self.method.keywords}
        inputs = [self._stacked(name, members) for name in self.method.positions]
        states = [name for name in self.method.positions if name in self.method.states]
        rule = typing.cast("Callable[..., Any]", self.method.batched_rule)
        p = _stack([e.p.to(dtype) for e in members])
        result = rule(p, _stack([g.to(dtype) for g in gradients]), *inputs, **keywords)
        new_p, *new_states = _unshared(result if isinstance(result, tuple) else (result,), [p, *inputs])
        if len(new_states) != len(states):
            raise RuleError(
                f"{rule.__qualname__} returns {1 + len(new_states)} values instead of p and {len(states)} states"
            )
        if after is None:
            _write([e.p for e in members], new_p)
        else:
            self._around(after, host, members, new_p=list(new_p), gradient=gradients)
        for name, new in zip(states, new_states, strict=True):
            self._write_state(name, members, new)

    def _around(self, graph: Graph, host: Mapping[str, float], members: Sequence[Entry], **more: Any) -> None:
        more = {name: tensors for name, tensors in more.items() if name in graph.buffers}
        run([bucket for bucket, _ in self._buckets(graph, host, members, **more)], {}, foreach=self.foreach)

    def _stacked(self, name: str, members: Sequence[Entry]) -> Any:
        values = [e.states.get(name, e.extras.get(name)) for e in members]
        if values[0] is None:
            return None
        if isinstance(values[0], list):
            return [_stack(column) for column in zip(*values, strict=True)]
        return _stack(values)

    def _write_state(self, name: str, members: Sequence[Entry], new: Any) -> None:
        values = [e.states.get(name) for e in members]
        if isinstance(values[0], list):
            for column, tensor in zip(zip(*values, strict=True), new, strict=True):
                _write(column, tensor)
        elif values[0] is not None:
            _write(values, new)


def _trace_of(graph: Graph | tuple[Graph, Graph | None]) -> Trace:
    return graph.trace if isinstance(graph, Graph) else graph[0].trace


#: How many graphs are kept for one set of options: a rule may branch on a number that differs at every step.
_KEPT = 64

#: Bytes of parameters of one shape, with their states, that are stacked for one call of a batched rule.
_STACK_BYTES = 1 << 26


def _groups(entries: Iterable[Entry], key: Callable[[Entry], Hashable]) -> Iterable[list[Entry]]:
    together: dict[Hashable, list[Entry]] = defaultdict(list)
    for e in entries:
        together[key(e)].append(e)
    return together.values()


def _crew(bucket: Bucket, members: Sequence[Entry]) -> Crew:
    names = [name for name in bucket.buffers if name not in ("p", "g")]
    places = {name: ([e.home(name) for e in members], *_place(name)) for name in names}
    fixed = split(members[0].options)[1]
    states: list[Any] = [e.states for e in members]
    crew = Crew(bucket, members[0].group, [e.param for e in members], states, fixed, places)
    crew.release()
    return crew


def _stack(tensors: Sequence[Any]) -> Tensor:
    return tensors[0].unsqueeze(0) if len(tensors) == 1 else torch.stack(list(tensors))


def _unshared(results: Any, arguments: Any) -> Any:
    """Results in memory of their own: a rule may return an argument as another's new value."""
    taken = {x.untyped_storage().data_ptr() for x in _flat(arguments)}

    def own(x: Any) -> Any:
        if isinstance(x, Tensor):
            return x.clone() if x.untyped_storage().data_ptr() in taken else x
        return [own(y) for y in x] if isinstance(x, (list, tuple)) else x

    return own(results)


def _flat(values: Any) -> Iterator[Tensor]:
    for x in values:
        if isinstance(x, Tensor):
            yield x
        elif x is not None:
            yield from _flat(x)


def _write(targets: Sequence[Any], stacked: Tensor) -> None:
    for target, new in zip(targets, stacked.unbind(0), strict=True):
        target.copy_(new)


def compute_dtype(p: Tensor) -> torch.dtype:
    """The type of arithmetic and of states: the parameter's, but at least float32."""
    return torch.float32 if p.dtype in _LOW_PRECISION else p.dtype


def real(x: Tensor) -> Tensor:
    """The tensor itself, or the pairs of real numbers behind a complex one."""
    return torch.view_as_real(x) if x.is_complex() else x
