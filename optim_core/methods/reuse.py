"""What stays the same from one step to the next, so that a step need not be assembled anew.

Most steps differ from the one before in their gradients and in a few numbers only. Everything else that an update
rests on is compared here, list against list; where anything differs, the step is assembled as the first was.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from optim_core.engines.bucket import Bucket
from optim_core.rules.options import split

#: From here on, what a crew compares are addresses.
_ADDRESSES = 4
_kind = operator.attrgetter("__class__", "dtype", "device", "layout")


@dataclass(eq=False)
class Crew:
    """Parameters of one group that step together, in one bucket.

    Attributes:
        bucket: what an engine is given; its numbers and gradients are renewed.
        group: their parameter group.
        params: the parameters.
        states: the state of each of them, the optimizer's own dicts.
        fixed: the options that the trace depends on.
        places: where each buffer is found: the dict for each parameter, the key, and the position in a list.
    """

    bucket: Bucket
    group: dict[str, Any]
    params: Sequence[Tensor]
    states: Sequence[dict[str, Any]]
    fixed: tuple[tuple[str, Any], ...]
    places: Mapping[str, tuple[Sequence[Mapping[str, Any]], str, int | None]]
    _seen: list[list[Any]] = field(init=False)
    _kinds: list[Any] = field(init=False)
    _places: set[int] = field(init=False)

    def __post_init__(self) -> None:
        gradients = [p.grad for p in self.params]
        self._kinds = list(map(_kind, gradients))
        self._seen = self._look(gradients, self._buffers())
        self._places = {address for addresses in self._seen[_ADDRESSES:] for address in addresses}

    def step(self) -> int | None:
        """How many steps the parameters have done, if all of them have done the same number."""
        steps = [state["step"] for state in self.states]
        return steps[0] if steps.count(steps[0]) == len(steps) else None

    def branches(self, options: Mapping[str, Any]) -> bool:
        """Whether the rule would take the same branches with these options of the group and given numbers."""
        host, fixed = split(options)
        self.bucket.host = host
        return fixed == self.fixed and self.bucket.graph.trace.holds(host)

    def renew(self) -> bool:
        """Bring the bucket's tensors up to date; False if more has changed than the gradients."""
        gradients: list[Any] = [p.grad for p in self.params]
        if list(map(_kind, gradients)) != self._kinds:
            return False
        buffers = self._buffers()
        if self._look(gradients, buffers) != self._seen or any(map(Tensor.is_neg, gradients)):
            return False
        addresses = list(map(Tensor.data_ptr, gradients))
        if not self._places.isdisjoint(addresses):
            return False
        self.bucket.buffers = {"p": self.params, "g": gradients, **buffers}
        self.bucket.addresses["g"] = addresses
        return True

    def release(self) -> None:
        """Let go of the gradients, whose memory the next backward may want."""
        self.bucket.buffers = {}

    def _buffers(self) -> dict[str, list[Tensor]]:
        return {
            name: [held[key] if at is None else held[key][at] for held in homes]
            for name, (homes, key, at) in self.places.items()
        }

    def _look(self, gradients: Sequence[Any], buffers: Mapping[str, Sequence[Tensor]]) -> list[list[Any]]:
        """How tensors lie in memory. Parameters and states keep their places, gradients need not."""
        return [
            list(map(Tensor.stride, gradients)),
            list(map(Tensor.numel, gradients)),
            list(map(Tensor.stride, self.params)),
            list(map(Tensor.numel, self.params)),
            list(map(Tensor.data_ptr, self.params)),
            *(list(map(Tensor.data_ptr, tensors)) for tensors in buffers.values()),
        ]


class Standing:
    """The crews of a whole optimizer.

    Args:
        crews: every parameter that has a gradient, in its crew.
        groups: the optimizer's groups.
        present: which states each group's options ask for.
    """

    def __init__(
        self, crews: Sequence[Crew], groups: Sequence[Mapping[str, Any]], present: Sequence[tuple[bool, ...]]
    ) -> None:
        self.crews = crews
        self._params = [p for group in groups for p in group["params"]]
        working = {id(p) for crew in crews for p in crew.params}
        self._idle = [p for p in self._params if id(p) not in working]
        self._present = present
        #: whether something has changed for good, rather than the branch that the rule takes for a while
        self.is_over = False

    @staticmethod
    def possible(params: Sequence[Tensor]) -> bool:
        """Whether what crews compare says all there is to say about such parameters."""
        return all(type(p) in (Tensor, torch.nn.Parameter) and not p.is_complex() for p in params)

    def buckets(
        self,
        groups: Sequence[Mapping[str, Any]],
        present: Sequence[tuple[bool, ...]],
        state: Mapping[Tensor, dict[str, Any]],
        options: Callable[[Mapping[str, Any], int], Mapping[str, Any]],
    ) -> list[Bucket] | None:
        """The buckets of the next step, or None if it must be assembled anew.

        Args:
            groups, present: as the constructor's, as they are now.
            state: the optimizer's state.
            options: what a group and a step count make up.
        """
        self.is_over = not self._same_parameters(groups, present)
        try:
            steps = [crew.step() for crew in self.crews]
            self.is_over |= not all(steps)
            if self.is_over or not all(
                crew.branches(options(crew.group, step + 1))
                for crew, step in zip(self.crews, steps, strict=True)
                if step is not None
            ):
                return None
            self.is_over = not all(
                all(map(operator.is_, map(state.__getitem__, crew.params), crew.states)) and crew.renew()
                for crew in self.crews
            )
        except (AttributeError, KeyError, IndexError, TypeError):  # a gradient or a state is gone
            self.is_over = True
        return None if self.is_over else [crew.bucket for crew in self.crews]

    def _same_parameters(self, groups: Sequence[Mapping[str, Any]], present: Sequence[tuple[bool, ...]]) -> bool:
        params = [p for group in groups for p in group["params"]]
        return (
            len(params) == len(self._params)
            and all(map(operator.is_, params, self._params))
            and present == self._present
            and all(p.grad is None for p in self._idle)
        )
