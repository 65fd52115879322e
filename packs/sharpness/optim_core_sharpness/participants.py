"""The parameters that take part in a step, by the options that hold for them; the same ones from step to step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from optim_core.methods import Column, ParameterSet, Roster, is_sharded
from optim_core.optimizers import check_gradient

Options: TypeAlias = Mapping[str, Any]
#: The options that hold for a whole group.
GroupOptions: TypeAlias = Callable[[Mapping[str, Any]], Options]
#: A group's parameters, with the options that tell some of them from others.
Parts: TypeAlias = Callable[[Mapping[str, Any]], Iterable[tuple[Options, Sequence[Tensor]]]]


class ParticipantSet(ParameterSet):
    """Parameters to which the same options apply.

    Args:
        options: these options.
        params: the parameters.
        sources: the groups of the parameters, by position, each with the options that hold for a part of it only.
    """

    def __init__(self, options: Options, params: Iterable[Tensor], sources: Sequence[tuple[int, Options]]) -> None:
        self.p = Column(params)
        self._sources = sources
        self._memory: dict[str, Column] = {}
        self._gradient_layout: object = None
        super().__init__(options, {})
        self.begin(options)

    def begin(self, options: Options) -> None:
        """Start a step, with the memory that earlier ones had."""
        self.options = options
        self.columns: dict[str, Column] = {"p": self.p, **self._memory}

    def end(self) -> None:
        """End a step: gradients need not outlive it."""
        self.columns = {}

    def fill(self, names: Iterable[str], column: Callable[[str, ParticipantSet], Column]) -> None:
        """Add the buffers that are missing, as ``column`` returns them."""
        for name in names:
            if name not in self.columns:
                self.columns[name] = column(name, self)

    def memory(self, name: str, like: Iterable[Tensor]) -> Column:
        """Memory for a buffer, the same at each step."""
        if name not in self._memory:
            self._memory[name] = Column(map(torch.empty_like, like))
        return self._memory[name]

    def put(self, values: Column) -> None:
        """Give the parameters other values."""
        if any(map(is_sharded, self.p)):  # which foreach does not know
            for p, x in zip(self.p, values, strict=True):
                p.copy_(x)
        else:
            torch._foreach_copy_(self.p, values)

    def gradients(self, owner: str) -> Column:
        """The gradients at hand; a missing one is replaced by zeros for good.

        Raises:
            SparseGradient, UnsupportedParameter: one of them cannot be worked with.
        """
        gradients = Column.of_gradients(self.p)
        if not self.are_as_before(gradients):
            for p in self.p:
                check_gradient(p, owner)
            for p in self.p:
                p.grad = torch.zeros_like(p) if p.grad is None else _writable(p.grad)
            gradients = Column.of_gradients(self.p)
            self._gradient_layout = gradients.layout
        return gradients

    def are_as_before(self, gradients: Column) -> bool:
        """Return whether each gradient is laid out like the last one of its parameter."""
        return gradients.layout == self._gradient_layout

    def options_now(self, groups: Sequence[Options]) -> Options | None:
        """The options of all members, given those of the groups; None if the members differ."""
        first, *others = ({**groups[k], **own} for k, own in self._sources)
        return first if all(other == first for other in others) else None


def _writable(gradient: Tensor) -> Tensor:
    """The gradient, or a copy of one whose elements share memory, as those of an expanded tensor do."""
    shares = any(n > 1 and not stride for n, stride in zip(gradient.shape, gradient.stride(), strict=True))
    return gradient.clone(memory_format=torch.contiguous_format) if shares else gradient


class Participants:
    """The parameters that take part in a step.

    Args:
        groups: the optimizer's.
        group_options: the options of a group.
        parts: how those of its parameters differ.
        wanted: returns whether a parameter takes part.
    """

    def __init__(
        self,
        groups: Sequence[dict[str, Any]],
        group_options: GroupOptions,
        parts: Parts,
        wanted: Callable[[Tensor], bool],
    ) -> None:
        by_options: dict[Any, tuple[Options, list[Tensor], list[tuple[int, Options]]]] = {}
        for k, group in enumerate(groups):
            shared = group_options(group)
            for own, params in parts(group):
                options = {**shared, **own}
                _, mine, sources = by_options.setdefault(tuple(options.items()), (options, [], []))
                mine.extend(filter(wanted, params))
                sources.append((k, own))
        self.sets = [ParticipantSet(*each) for each in by_options.values() if each[1]]
        self._roster = Roster(groups, [p for members in self.sets for p in members.p])

    @property
    def idle(self) -> Sequence[Tensor]:
        """The parameters that do not take part."""
        return self._roster.idle

    def begin_again(self, groups: Sequence[dict[str, Any]], group_options: GroupOptions) -> bool:
        """Start another step with the same parameters; return False, without effect, if more has changed.

        Args:
            groups, group_options: as the constructor's, as they are now.
        """
        if self._roster.reason_to_reassemble(groups) is not None:
            return False
        shared = list(map(group_options, groups))
        options = [now for members in self.sets if (now := members.options_now(shared)) is not None]
        gradients = [Column.of_gradients(members.p) for members in self.sets]
        if len(options) < len(self.sets) or not all(map(ParticipantSet.are_as_before, self.sets, gradients)):
            return False
        if not all(members.p.is_unmoved() for members in self.sets):
            return False
        for members, now, column in zip(self.sets, options, gradients, strict=True):
            members.begin(now)
            members.columns["g"] = column
        return True
