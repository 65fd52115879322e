"""One parameter's part in a step: its tensors, and the place of each buffer of a graph among them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from optim_core.engines.tensors import real
from optim_core.methods.declarations import ROUNDING_STATES
from optim_core.rules.compose import Buffer
from optim_core.rules.transform import Transform


@dataclass(frozen=True)
class ParameterStep:
    """A parameter's part in a step.

    Attributes:
        p, g: parameter and gradient; real views of them if they are complex.
        options: the options of its group and the numbers given by the core, by name.
        options_key: equal for parameters with equal options.
        states: the parameter's states by name, on the levels below WHOLE.
        extras: its extra inputs by name.
        group: its parameter group.
        param: the parameter itself.
        memories: the tensors that transforms keep for it, by transform.
        transforms: the transforms composed with the rule for it.
    """

    p: Tensor
    g: Tensor
    options: Mapping[str, Any]
    options_key: Hashable
    states: dict[str, Any]
    extras: Mapping[str, Tensor]
    group: dict[str, Any]
    param: Tensor
    memories: Mapping[Transform, dict[str, Tensor]]
    transforms: tuple[Transform, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the parameter and its states."""
        lists = (x if isinstance(x, list) else [x] for x in self.states.values())
        return self.p.nbytes + sum(x.nbytes for several in lists for x in several if isinstance(x, Tensor))


class Place(NamedTuple):
    """The place of a buffer that stays from step to step.

    Attributes:
        key: its name in the dict that holds it.
        position: its position, if a list is found there.
        transform: the transform that keeps it; None for a state of the method.
    """

    key: str
    position: int | None = None
    transform: Transform | None = None

    def holder(self, step: ParameterStep) -> dict[str, Any]:
        """The dict that holds the buffer of a parameter."""
        return step.states if self.transform is None else step.memories[self.transform]

    def tensor(self, step: ParameterStep) -> Tensor:
        """The buffer of a parameter, as real numbers."""
        entry = self.holder(step)[self.key]
        return real(entry if self.position is None else entry[self.position])


def places_of(buffers: Sequence[Buffer], transforms: Sequence[Transform]) -> dict[str, Place]:
    """The place of every state and of every tensor kept by a transform, by the name that a graph has for it."""
    states = {
        name: Place(b.name, None if b.copies is None else i)
        for b in buffers
        if b.written
        for i, name in enumerate(b.names)
    }
    kept = {name: Place(key, transform=t) for t in transforms for name, key in t.kept_names().items()}
    return {name: Place(name) for name in ROUNDING_STATES} | states | kept
