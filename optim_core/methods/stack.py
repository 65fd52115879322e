"""Parameters of one shape that go through functions of stacks together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optim_core.engines.tensors import compute_dtype
from optim_core.errors import RuleError
from optim_core.methods.parameter_step import ParameterStep
from optim_core.methods.states import tensors_of
from optim_core.rules.calls import CallSegment
from optim_core.rules.graph import Graph
from optim_core.rules.trace import Call, evaluate
from optim_core.rules.values import Level, Value


class SpareMemory:
    """Memory that one stack has released and the next may use.

    New memory costs a page fault per 4 KiB, which takes longer than to fill it.
    """

    def __init__(self) -> None:
        self._spare: dict[Hashable, list[Tensor]] = defaultdict(list)

    def take(self, dtype: torch.dtype, elements: int, device: torch.device) -> Tensor | None:
        """Memory of a type and size, if there is some."""
        spare = self._spare[dtype, elements, device]
        return spare.pop() if spare else None

    def add(self, x: Tensor) -> None:
        """Offer the memory of a tensor without gaps."""
        self._spare[x.dtype, x.numel(), x.device].append(x)


class Stack:
    """Parameters of one shape in one step: their states in shapes of their own, arguments and results of calls.

    Args:
        members: parameters of one shape and layout with their states.
        spare: memory for the arguments of calls, which goes back there.
    """

    def __init__(self, members: Sequence[ParameterStep], spare: SpareMemory) -> None:
        self.members = members
        self._spare = spare
        #: stacks of states, and results of calls, by name
        self._stacks: dict[str, Any] = {}
        self._arguments: dict[str, Tensor] = {}

    # arguments ----------------------------------------------------------------------------------------------
    def allocate(self, name: str, value: Value) -> Tensor:
        """Memory for an argument with one number per element, each parameter's part laid out as the parameter is."""
        in_half = value.op == "bfloat16"  # it has that precision: nothing is lost
        p = self.members[0].p
        dtype = torch.bfloat16 if in_half else compute_dtype(p)
        self._arguments[name] = self._empty(dtype, self._spare.take(dtype, len(self.members) * p.numel(), p.device))
        return self._arguments[name]

    def release(self) -> None:
        """Leave the memory of all arguments to the next stack."""
        for x in self._arguments.values():
            self._spare.add(x)
        self._arguments.clear()

    def _empty(self, dtype: torch.dtype, memory: Tensor | None = None) -> Tensor:
        p = self.members[0].p
        shape, strides = (len(self.members), *p.shape), (p.numel(), *self._strides())
        if memory is not None:
            return memory.as_strided(shape, strides)
        return torch.empty_strided(shape, strides, dtype=dtype, device=p.device)

    def _strides(self) -> tuple[int, ...]:
        """The strides of a tensor without gaps that is laid out as the parameters are."""
        return torch.empty_like(self.members[0].p, device="meta").stride()

    # calls --------------------------------------------------------------------------------------------------
    def results(self, graph: Graph) -> dict[str, Tensor]:
        """The results of calls that a graph reads, by name."""
        return {name: self._stacks[name] for name in graph.buffers if name in self._stacks}

    def call(self, segment: CallSegment, host: Mapping[str, float]) -> None:
        """Call a function of stacks; its allocated arguments have been computed.

        Raises:
            RuleError: it returns something else than it declares.
        """
        call = segment.call
        tensors = [self._tensor(x, segment.places) for x in call.tensors]
        numbers = {name: self._number(x, host) for name, x in call.numbers.items()}
        returned = call.function(*tensors, **numbers)
        results = returned if isinstance(returned, tuple) else (returned,)
        self._check(call, results)
        for symbol, x in zip(call.results, self._without_aliases(results), strict=True):
            self._stacks[symbol.name] = self._laid_out(x) if symbol.level is Level.ELEMENT else x

    def write(self, name: str, value: Value) -> None:
        """Give a state in a shape of its own its new value."""
        stacks = self._tensor(value, {})
        for targets, x in zip(self._columns(name), stacks if self._is_list(name) else [stacks], strict=True):
            for target, new in zip(targets, x.unbind(0), strict=True):
                target.copy_(new)

    def _columns(self, name: str) -> Iterable[Sequence[Tensor]]:
        """The tensors of a state, one per parameter; several times, if the state is several tensors."""
        return zip(*(tensors_of(member.states, name) for member in self.members), strict=True)

    def _is_list(self, name: str) -> bool:
        return name not in self.members[0].states

    def _tensor(self, x: Value | None, arguments: Mapping[Value, str]) -> Any:
        if x is None:
            return None
        if x in arguments:
            return self._arguments[arguments[x]]
        if x.name not in self._stacks:
            stacks = [_stacked(column) for column in self._columns(x.name)]
            self._stacks[x.name] = stacks if self._is_list(x.name) else stacks[0]
        return self._stacks[x.name]

    def _number(self, x: Any, host: Mapping[str, float]) -> Any:
        if isinstance(x, tuple):
            return tuple(self._number(y, host) for y in x)
        if not isinstance(x, Value):
            return x
        option = self.members[0].options.get(x.name) if x.op == "input" else None
        return option if isinstance(option, int) else evaluate(x, host)

    def _check(self, call: Call, results: Sequence[Any]) -> None:
        name = call.function.__qualname__
        if len(results) != len(call.results):
            raise RuleError(f"{name} returns {len(results)} values instead of {len(call.results)}, as stacked() says")
        shape = (len(self.members), *self.members[0].p.shape)
        for symbol, x in zip(call.results, results, strict=True):
            if symbol.level is Level.ELEMENT and tuple(x.shape) != shape:
                raise RuleError(f"{name} returns a stack of shape {tuple(x.shape)} instead of {shape}")

    def _without_aliases(self, results: Sequence[Any]) -> Sequence[Any]:
        """Results in memory of their own: a function may return one state as the new value of another."""
        if len(self.members) > 1:  # the function was given copies
            return results
        storages = {x.untyped_storage().data_ptr() for x in _flat(self.members[0].states.values())}

        def own(x: Any) -> Any:
            if isinstance(x, Tensor):
                return x.clone() if x.untyped_storage().data_ptr() in storages else x
            return [own(y) for y in x]

        return [own(x) for x in results]

    def _laid_out(self, x: Tensor) -> Tensor:
        """A result whose parts lie in memory as the parameters do."""
        return x if x.stride()[1:] == self._strides() else self._empty(x.dtype).copy_(x)


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0].unsqueeze(0) if len(tensors) == 1 else torch.stack(list(tensors))


def _flat(values: Any) -> Iterator[Tensor]:
    for x in values:
        if isinstance(x, Tensor):
            yield x
        elif isinstance(x, (list, tuple)):
            yield from _flat(x)
