"""The transforms composed with an optimizer's rule: whom each leaves alone, and what each keeps."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from optim_core.errors import WrapperConflict
from optim_core.methods.states import memory_dtype
from optim_core.rules.transform import Transform


class TransformMemory(Protocol):
    """A wrapper as its transform sees it: it holds the tensors that the transform keeps, and gives it numbers."""

    memory: dict[Tensor, dict[str, Tensor]]

    def numbers(self) -> Mapping[str, float]:
        """Numbers of this step that the transform's options hold beside the method's own."""


@dataclass(frozen=True, eq=False)
class _Member:
    transform: Transform
    memory: TransformMemory | None
    excluded: Collection[Tensor]

    @property
    def tensors(self) -> dict[Tensor, dict[str, Tensor]]:
        """Return the tensors that are kept; the wrapper makes a new dict when it loads a state."""
        return {} if self.memory is None else self.memory.memory


class Composition:
    """Transforms in the order in which a gradient passes them."""

    def __init__(self) -> None:
        self._members: tuple[_Member, ...] = ()

    def add(
        self, transform: Transform, memory: TransformMemory | None = None, excluded: Collection[Tensor] = ()
    ) -> None:
        """Compose a transform; a gradient passes it before those already there.

        Args:
            transform: what to compose.
            memory: holds what the transform keeps, and gives it numbers.
            excluded: parameters that it leaves alone; more may join later, together with their group.

        Raises:
            WrapperConflict: it keeps tensors, and there is no memory.
        """
        if transform.keeps and memory is None:
            raise WrapperConflict(
                f"{type(transform).__name__} keeps tensors: add_transform(transform, memory) needs the wrapper that "
                "holds them"
            )
        self._members = (_Member(transform, memory, excluded), *self._members)

    @property
    def transforms(self) -> tuple[Transform, ...]:
        """All of them."""
        return tuple(member.transform for member in self._members)

    def acting_on(self, p: Tensor) -> tuple[Transform, ...]:
        """Those that do not leave a parameter alone."""
        return tuple(member.transform for member in self._acting_on(p))

    def begin(self, p: Tensor) -> None:
        """Create what transforms keep for a parameter and do not yet have: the parameter's value at first."""
        for member in self._acting_on(p):
            for name in member.transform.keeps:
                memory = member.tensors.setdefault(p, {})
                if name not in memory:
                    memory[name] = p.detach().to(memory_dtype(p), copy=True)

    def kept(self, p: Tensor) -> dict[str, dict[str, Tensor]]:
        """By buffer of the rule's graph, the dict in which it is found, under the buffer's name after the dot."""
        return {
            buffer: member.tensors[p]
            for place, member in enumerate(self._acting_on(p))
            for buffer in member.transform.buffers(place)
        }

    def numbers(self) -> dict[str, float]:
        """The numbers that the transforms' options hold of this step, by name.

        Raises:
            WrapperConflict: two transforms are given numbers by one name.
        """
        numbers: dict[str, float] = {}
        for member in self._members:
            own = {} if member.memory is None else member.memory.numbers()
            if twice := numbers.keys() & own.keys():
                raise WrapperConflict(
                    f"two wrappers give their transforms a number named {min(twice)!r}: leave one of them out, or "
                    "rename what its numbers() returns"
                )
            numbers |= own
        return numbers

    def _acting_on(self, p: Tensor) -> Sequence[_Member]:
        return self._members and [member for member in self._members if not member.excluded or p not in member.excluded]
