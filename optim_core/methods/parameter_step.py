"""One parameter's part in a step: its tensors by the names that a graph has for them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from optim_core.engines.tensors import real
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
        kept: for each buffer that a transform keeps, the memory that holds it.
        transforms: what is composed with the rule for it.
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
    transforms: tuple[Transform, ...]

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
        key, at = place_of(name)
        return self.states[key] if at is None else self.states[key][at]  # type: ignore[no-any-return]

    def home(self, name: str) -> MutableMapping[str, Any]:
        """The dict that holds a buffer."""
        return self.kept.get(name, self.states)


def place_of(name: str) -> tuple[str, int | None]:
    """Where a buffer is found in the dict that holds it: its key, and its position in a list."""
    if not name.endswith("]"):
        return name.rpartition(".")[2], None
    stem, _, index = name[:-1].rpartition("[")
    return stem, int(index)
