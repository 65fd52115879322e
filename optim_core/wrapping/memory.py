"""What a wrapper keeps between steps, where the innermost optimizer keeps its own: so every tool carries it.

Tensors stand in the state of their parameter, numbers in every group, under names that begin with the wrapper's:
``optimizer.state[p]["EMA_ema"]``, ``group["EMA_steps"]``. A tensor with a shape of its own has an "@" in its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, TypeAlias

from torch import Tensor

#: Finds the state of a parameter in which wrappers' tensors stand.
StateOf: TypeAlias = Callable[[Tensor], MutableMapping[str, Any]]


class Entries(MutableMapping[str, Any]):
    """Those entries of a parameter's state whose names begin with a prefix, by the rest of their names."""

    def __init__(self, prefix: str, p: Tensor, state_of: StateOf) -> None:
        self._prefix = prefix
        self._p = p
        self._state_of = state_of

    def __getitem__(self, name: str) -> Any:
        return self._state_of(self._p)[self._prefix + name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._state_of(self._p)[self._prefix + name] = value

    def __delitem__(self, name: str) -> None:
        del self._state_of(self._p)[self._prefix + name]

    def __iter__(self) -> Iterator[str]:
        return _rests(self._state_of(self._p), self._prefix)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Memory(Mapping[Tensor, Entries]):
    """A wrapper's tensors and numbers for single parameters: ``memory[p]["slow"]``.

    Args:
        prefix: what their names begin with.
        state_of: finds the state of a parameter.
        groups: the parameter groups.
    """

    def __init__(self, prefix: str, state_of: StateOf, groups: Sequence[Mapping[str, Any]]) -> None:
        self._prefix = prefix
        self._state_of = state_of
        self._groups = groups

    def __getitem__(self, p: Tensor) -> Entries:
        """Those of a parameter, to read and to set; empty at first."""
        return Entries(self._prefix, p, self._state_of)

    def __iter__(self) -> Iterator[Tensor]:
        """The parameters of which anything is kept."""
        return (p for group in self._groups for p in group["params"] if self[p])

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Counters(MutableMapping[str, Any]):
    """A wrapper's numbers for the model as a whole, the same in each group: ``counters["steps"]``."""

    def __init__(self, prefix: str, groups: Sequence[dict[str, Any]]) -> None:
        self._prefix = prefix
        self._groups = groups

    def __getitem__(self, name: str) -> Any:
        return self._groups[0][self._prefix + name]

    def __setitem__(self, name: str, value: float) -> None:
        for group in self._groups:
            group[self._prefix + name] = value

    def __delitem__(self, name: str) -> None:
        for group in self._groups:
            del group[self._prefix + name]

    def __iter__(self) -> Iterator[str]:
        return _rests(self._groups[0], self._prefix)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _rests(names: Iterable[str], prefix: str) -> Iterator[str]:
    """What comes after a prefix, of those names that have it."""
    return iter([name[len(prefix) :] for name in names if name.startswith(prefix)])
