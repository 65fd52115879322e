"""Reuse of the work that one step has assembled in the next: for methods, formulas and wrappers.

Most steps differ from the one before in their gradients and in a few numbers only. Everything else that the work rests
on is compared here, list against list; where anything differs, the work is assembled anew.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from optim_core.engines.bucket import Bucket
from optim_core.rules.options import split

_gradient = operator.attrgetter("grad")
_kind = operator.attrgetter("__class__", "dtype")


class Layout(NamedTuple):
    """The facts by which an engine tells tensors apart; one entry per tensor in each list."""

    kinds: list[Any]
    sizes: list[int]
    strides: list[tuple[int, ...]]
    negated: list[bool]


class Column(list[Tensor]):
    """One dense tensor per parameter, with how and where they lie in memory, looked up once.

    A formula that gets a column again trusts it: whoever keeps one over several calls asks :meth:`is_unmoved` before
    each.

    Attributes:
        layout: how each tensor lies in memory.
        addresses: the address of each tensor.
    """

    def __init__(self, tensors: Iterable[Tensor] = ()) -> None:
        super().__init__(tensors)
        self.layout = Layout(
            list(map(_kind, self)),
            list(map(Tensor.numel, self)),
            list(map(Tensor.stride, self)),
            list(map(Tensor.is_neg, self)),
        )
        self.addresses = list(map(Tensor.data_ptr, self))

    @classmethod
    def of_gradients(cls, params: Iterable[Tensor]) -> Column:
        """The gradients of parameters; empty if one of them is missing or not dense."""
        try:
            return cls(map(_gradient, params))
        except (AttributeError, RuntimeError):  # it has no type, or no strides
            return cls()

    def is_unmoved(self) -> bool:
        """Return whether all tensors lie where and as they did.

        A parameter of another type has other gradients, whose types are compared where they are taken.
        """
        return (
            list(map(Tensor.data_ptr, self)) == self.addresses
            and list(map(Tensor.stride, self)) == self.layout.strides
            and list(map(Tensor.numel, self)) == self.layout.sizes
        )


class AssembledSet:
    """Buckets of parameters to which the same options apply, and what the buckets rest on.

    Args:
        options: the options that the trace has seen, by name.
        columns: the buffers whose tensors may be others at the next call, ``p`` among them.
        buckets: each bucket with the positions of its parameters in the columns.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        columns: Mapping[str, Column],
        buckets: Sequence[tuple[Bucket, Sequence[int]]],
    ) -> None:
        self.buckets = [bucket for bucket, _ in buckets]
        self._params = columns["p"]
        # layouts stand for their columns, so that no tensor is kept alive
        self._layouts = {name: column.layout for name, column in columns.items()}
        self._positions = [None if len(at) == len(self._params) else at for _, at in buckets]
        self._decisive = split(options)[1]

    def numbers(self, options: Mapping[str, Any]) -> dict[str, float] | None:
        """The host numbers among the options; None if the options decide a branch otherwise than before."""
        host, decisive = split(options)
        same = decisive == self._decisive and all(bucket.graph.trace.holds(host) for bucket in self.buckets)
        return host if same else None

    def reason_to_reassemble(self, columns: Mapping[str, Column]) -> str | None:
        """Return what keeps the buckets from working on these columns, or None."""
        for name, column in columns.items():
            if column.layout is self._layouts[name]:  # the column of the last call
                continue
            if column.layout != self._layouts[name]:
                return f"{name!r} has another layout"
            if name == "p" and not (same_objects(column, self._params) and column.addresses == self._params.addresses):
                return "the parameters are others, or have moved"
        return None

    def renew(
        self, numbers: dict[str, float], columns: Mapping[str, Column], unmoved: Mapping[str, Sequence[Tensor]]
    ) -> None:
        """Give the buckets the numbers and tensors of the next step.

        Args:
            numbers: as :meth:`numbers` returns them.
            columns: columns for which there is no :meth:`reason_to_reassemble`.
            unmoved: other buffers, known to lie where they did.
        """
        replaced = [name for name, column in columns.items() if column.layout is not self._layouts[name]]
        buffers = {**columns, **unmoved}
        for bucket, at in zip(self.buckets, self._positions, strict=True):
            bucket.host = numbers
            bucket.buffers = buffers if at is None else {n: [x[i] for i in at] for n, x in buffers.items()}
            for name in replaced:
                addresses = columns[name].addresses
                bucket.addresses[name] = addresses if at is None else [addresses[i] for i in at]
        self._layouts |= {name: columns[name].layout for name in replaced}

    def release(self) -> None:
        """Let go of the tensors: the next backward may want the memory of the gradients."""
        for bucket in self.buckets:
            bucket.buffers = {}


class Roster:
    """The parameters of an optimizer that take part in a step.

    Args:
        groups: the optimizer's groups.
        active: the parameters that take part.
    """

    def __init__(self, groups: Sequence[Mapping[str, Any]], active: Iterable[Tensor]) -> None:
        self._groups = list(groups)
        self._params = _parameters(groups)
        taking_part = set(map(id, active))
        self.idle = [p for p in self._params if id(p) not in taking_part]

    def is_of(self, groups: Sequence[Mapping[str, Any]]) -> bool:
        """Whether these are the groups, with the same parameters."""
        return same_objects(groups, self._groups) and same_objects(_parameters(groups), self._params)

    def reason_to_reassemble(self, groups: Sequence[Mapping[str, Any]]) -> str | None:
        """Return what has changed about the parameters that take part, or None."""
        if not self.is_of(groups):
            return "the optimizer has other groups or parameters"
        if any(p.grad is not None for p in self.idle):
            return "a parameter has a gradient that had none"
        return None


class Inputs(NamedTuple):
    """The tensors that a step works on beside the parameters.

    Attributes:
        gradients: the gradients; empty if one is missing or not dense.
        kept: the buffers that stay from step to step, by name; empty if one is missing.
    """

    gradients: Column
    kept: Mapping[str, Sequence[Tensor]]


#: The options of a rule for a parameter group and a step count, by name.
OptionsOf: TypeAlias = Callable[[Mapping[str, Any], int], Mapping[str, Any]]


@dataclass(eq=False)
class AssembledPart:
    """Parameters of one group that step by one graph.

    Attributes:
        assembled: their buckets.
        group: their parameter group.
        params: the parameters.
        states: the state of each parameter, the optimizer's own dicts.
        keys: by name of a buffer that stays from step to step, the key under which each state holds it.
        states_asked_for: the states that the options of a group ask for.
    """

    assembled: AssembledSet
    group: dict[str, Any]
    params: Column
    states: Sequence[dict[str, Any]]
    keys: Mapping[str, str]
    states_asked_for: Callable[[Mapping[str, Any]], object]

    def __post_init__(self) -> None:
        self._asked_for = self.states_asked_for(self.group)
        self._addresses = _addresses(self._kept())
        self._devices = list(map(Tensor.get_device, self.params))
        self._occupied = set(self.params.addresses).union(*self._addresses.values())

    def numbers(self, options: OptionsOf) -> dict[str, float] | None:
        """The host numbers of the next step; None if the rule would take another branch."""
        return self.assembled.numbers(options(self.group, self.states[0].get("step", 0) + 1))

    def inputs(self) -> Inputs:
        """The gradients at hand, and the buffers that stay."""
        return Inputs(Column.of_gradients(self.params), self._kept())

    def _kept(self) -> dict[str, list[Tensor]]:
        return {name: _fetched(self.states, key) for name, key in self.keys.items()}

    def reason_to_reassemble(self, inputs: Inputs) -> str | None:
        """Return what keeps the buckets from another step with these inputs, or None."""
        steps = [states.get("step") for states in self.states]
        if self.states_asked_for(self.group) != self._asked_for:
            return "the options ask for other states"
        if not steps[0] or steps.count(steps[0]) < len(steps):
            return "some parameters have done more steps than others"
        if not self.params.is_unmoved() or _addresses(inputs.kept) != self._addresses:
            return "a parameter or a state has moved, or is missing"
        if list(map(Tensor.get_device, inputs.gradients)) != self._devices:
            return "a gradient is missing, or on another device"
        if not self._occupied.isdisjoint(inputs.gradients.addresses):
            return "a gradient shares memory with a parameter or a state"
        return self.assembled.reason_to_reassemble({"g": inputs.gradients})

    def renew(self, numbers: dict[str, float], inputs: Inputs) -> None:
        """Give the buckets the numbers and inputs of the next step."""
        self.assembled.renew(numbers, {"p": self.params, "g": inputs.gradients}, inputs.kept)

    def finish(self) -> None:
        """Count a step, and let go of the gradients."""
        self.assembled.release()
        for states in self.states:
            states["step"] += 1


class AssembledStep:
    """A whole step of an optimizer, as it was assembled.

    Args:
        roster: the parameters that take part.
        parts: the parts that they form.
        state: the optimizer's state.
    """

    def __init__(self, roster: Roster, parts: Sequence[AssembledPart], state: Mapping[Any, Any]) -> None:
        self._roster = roster
        self._parts = parts
        self._states = list(state.values())  # comparing values takes less than looking up keys

    @staticmethod
    def is_possible(params: Iterable[Tensor]) -> bool:
        """Return whether the comparisons made here tell all that matters of such parameters."""
        return all(type(p) in (Tensor, torch.nn.Parameter) and not p.is_complex() for p in params)

    def is_of(self, groups: Sequence[Mapping[str, Any]]) -> bool:
        """Whether an optimizer still has the groups and parameters of this step."""
        return self._roster.is_of(groups)

    def numbers(self, options: OptionsOf) -> list[dict[str, float]] | None:
        """The host numbers of each part in the next step; None if the rule would take another branch."""
        numbers = [n for part in self._parts if (n := part.numbers(options)) is not None]
        return numbers if len(numbers) == len(self._parts) else None

    def inputs(self) -> list[Inputs]:
        """The inputs of each part in the next step."""
        return [part.inputs() for part in self._parts]

    def reason_to_reassemble(
        self, groups: Sequence[Mapping[str, Any]], state: Mapping[Any, Any], inputs: Sequence[Inputs]
    ) -> str | None:
        """Return what keeps this from another step with these inputs, or None; groups and state are the optimizer's."""
        reason = self._roster.reason_to_reassemble(groups)
        if reason is None and not same_objects(list(state.values()), self._states):
            reason = "a parameter has another state"
        for part, own in zip(self._parts, inputs, strict=True):
            reason = reason or part.reason_to_reassemble(own)
        return reason

    def renew(
        self, numbers: Sequence[dict[str, float]], inputs: Sequence[Inputs]
    ) -> list[tuple[Mapping[str, Any], Bucket]]:
        """The buckets, each with its group, given the numbers and inputs of the next step."""
        for part, own_numbers, own_inputs in zip(self._parts, numbers, inputs, strict=True):
            part.renew(own_numbers, own_inputs)
        return [(part.group, bucket) for part in self._parts for bucket in part.assembled.buckets]

    def finish(self) -> None:
        """Count the step, and let go of the gradients."""
        for part in self._parts:
            part.finish()


def _fetched(states: Sequence[Mapping[str, Any]], key: str) -> list[Tensor]:
    try:
        return [own[key] for own in states]
    except KeyError:  # the user may take out of a state what they like
        return []


def _addresses(buffers: Mapping[str, Sequence[Tensor]]) -> dict[str, list[int]]:
    return {name: list(map(Tensor.data_ptr, tensors)) for name, tensors in buffers.items()}


def same_objects(a: Sequence[Any], b: Sequence[Any]) -> bool:
    """Return whether two sequences hold the very same objects in the same order."""
    return len(a) == len(b) and all(map(operator.is_, a, b))


def _parameters(groups: Sequence[Mapping[str, Any]]) -> list[Tensor]:
    return [p for group in groups for p in group["params"]]
