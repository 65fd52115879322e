"""One parameter's part in a step: its tensors by the names that a graph has for them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from optim_core.engines.tensors import real
from optim_core.rules.graph import Place
from optim_core.rules.transform import Transform


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
        kept: what transforms keep for it, by the transform's position.
        transforms: what is composed with the rule for it, by position.
    """

    p: Tensor
    g: Tensor
    options: Mapping[str, Any]
    share: Hashable
    states: MutableMapping[str, Any]
    extras: Mapping[str, Tensor]
    group: dict[str, Any]
    param: Tensor
    kept: Mapping[int, MutableMapping[str, Tensor]]
    transforms: tuple[Transform, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the parameter and its states."""
        lists = (x if isinstance(x, list) else [x] for x in self.states.values())
        return self.p.nbytes + sum(x.nbytes for several in lists for x in several if isinstance(x, Tensor))

    def buffer(self, place: Place) -> Tensor:
        """The tensor at a place."""
        if place.transform is not None:
            return real(self.home(place)[place.name])
        if place.name == "p":
            return self.p
        if place.name == "g":
            return self.g
        if place.name in self.extras:
            return self.extras[place.name]
        x = self.states[place.name]
        return x if place.position is None else x[place.position]  # type: ignore[no-any-return]

    def home(self, place: Place) -> MutableMapping[str, Any]:
        """The dict that holds what is at a place, if it outlives the step."""
        return self.states if place.transform is None else self.kept[place.transform]
