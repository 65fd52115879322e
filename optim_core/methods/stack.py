"""Parameters of one shape that go through functions of stacks together."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optim_core.engines.tensors import compute_dtype
from optim_core.errors import RuleError
from optim_core.methods.parameter_step import Entry
from optim_core.rules.calls import CallSegment
from optim_core.rules.graph import Graph
from optim_core.rules.trace import Call, evaluate
from optim_core.rules.values import Level, Value


class Stack:
    """What a step knows of some parameters of one shape: their states in shapes of their own, and results of calls.

    Args:
        members: parameters of one shape and layout with their states.
        room: memory that stacks before this one have left, by type and size; what this one leaves is added.
    """

    def __init__(self, members: Sequence[Entry], room: dict[Hashable, list[Tensor]]) -> None:
        self.members = members
        self._room = room
        self._known: dict[str, Any] = {}
        self._places: dict[str, Tensor] = {}

    def place(self, name: str, value: Value) -> Tensor:
        """Memory for a value with a number an element, each parameter's part laid out as the parameter is."""
        in_half = value.op == "bfloat16"  # it has that precision: nothing is lost
        dtype = torch.bfloat16 if in_half else compute_dtype(self.members[0].p)
        # new memory costs a page fault for every 4 KiB, which takes longer than to fill it
        left = self._room.get(self._size(dtype))
        self._places[name] = self._blank(dtype, left.pop() if left else None)
        return self._places[name]

    def leave(self) -> None:
        """Leave the memory of all places to the next stack."""
        for x in self._places.values():
            self._room.setdefault(self._size(x.dtype), []).append(x)
        self._places.clear()

    def _size(self, dtype: torch.dtype) -> Hashable:
        return dtype, len(self.members) * self.members[0].p.numel(), self.members[0].p.device

    def _blank(self, dtype: torch.dtype, memory: Tensor | None = None) -> Tensor:
        p = self.members[0].p
        shape, strides = (len(self.members), *p.shape), (p.numel(), *self._strides())
        if memory is not None:
            return memory.as_strided(shape, strides)
        return torch.empty_strided(shape, strides, dtype=dtype, device=p.device)

    def _strides(self) -> tuple[int, ...]:
        """How a tensor lies in memory that is laid out as the parameters are."""
        return torch.empty_like(self.members[0].p, device="meta").stride()

    def results(self, graph: Graph) -> dict[str, Tensor]:
        """The results of calls that a graph reads, by name."""
        return {name: self._known[name] for name in graph.buffers if name in self._known}

    def call(self, segment: CallSegment, host: Mapping[str, float]) -> None:
        """Call a function of stacks; what was made room for has been computed.

        Raises:
            RuleError: it returns something else than it says.
        """
        call = segment.call
        tensors = [self._tensor(x, segment.places) for x in call.tensors]
        numbers = {name: self._number(x, host) for name, x in call.numbers.items()}
        result = call.function(*tensors, **numbers)
        results = result if isinstance(result, tuple) else (result,)
        self._check(call, results)
        for symbol, x in zip(call.results, self._apart(results), strict=True):
            self._known[symbol.name] = self._laid_out(x) if symbol.level is Level.ELEMENT else x

    def write(self, name: str, value: Value) -> None:
        """Give a state in a shape of its own its new value."""
        stacks = self._tensor(value, {})
        states = [e.states[name] for e in self.members]
        columns = zip(*states, strict=True) if isinstance(states[0], list) else [states]
        for column, x in zip(columns, stacks if isinstance(states[0], list) else [stacks], strict=True):
            for target, new in zip(column, x.unbind(0), strict=True):
                target.copy_(new)

    def _tensor(self, x: Value | None, places: Mapping[Value, str]) -> Any:
        if x is None:
            return None
        if x in places:
            return self._places[places[x]]
        if x.name not in self._known:
            states = [e.states[x.name] for e in self.members]
            several = isinstance(states[0], list)
            self._known[x.name] = [_stack(c) for c in zip(*states, strict=True)] if several else _stack(states)
        return self._known[x.name]

    def _number(self, x: Any, host: Mapping[str, float]) -> Any:
        if isinstance(x, tuple):
            return tuple(self._number(y, host) for y in x)
        if not isinstance(x, Value):
            return x
        as_given = self.members[0].options.get(x.name) if x.op == "input" else None
        return as_given if isinstance(as_given, int) else evaluate(x, host)

    def _check(self, call: Call, results: Sequence[Any]) -> None:
        name = call.function.__qualname__
        if len(results) != len(call.results):
            raise RuleError(f"{name} returns {len(results)} values instead of {len(call.results)}, as stacked() says")
        shape = (len(self.members), *self.members[0].p.shape)
        for symbol, x in zip(call.results, results, strict=True):
            if symbol.level is Level.ELEMENT and tuple(x.shape) != shape:
                raise RuleError(f"{name} returns a stack of shape {tuple(x.shape)} instead of {shape}")

    def _apart(self, results: Sequence[Any]) -> Sequence[Any]:
        """Results in memory of their own: a function may return a state as another's new value."""
        if len(self.members) > 1:  # what it has been given are copies
            return results
        taken = {x.untyped_storage().data_ptr() for x in _flat(self.members[0].states.values())}

        def own(x: Any) -> Any:
            if isinstance(x, Tensor):
                return x.clone() if x.untyped_storage().data_ptr() in taken else x
            return [own(y) for y in x]

        return [own(x) for x in results]

    def _laid_out(self, x: Tensor) -> Tensor:
        """A result whose parts lie in memory as the parameters do."""
        return x if x.stride()[1:] == self._strides() else self._blank(x.dtype).copy_(x)


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0].unsqueeze(0) if len(tensors) == 1 else torch.stack(list(tensors))


def _flat(values: Any) -> Iterator[Tensor]:
    for x in values:
        if isinstance(x, Tensor):
            yield x
        elif isinstance(x, (list, tuple)):
            yield from _flat(x)
