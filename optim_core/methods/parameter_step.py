"""One parameter's part in a step: its tensors, by the places that a graph has for them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from optim_core.engines.tensors import as_pairs, real, shape_of
from optim_core.methods.states import key_of
from optim_core.rules.graph import Place
from optim_core.rules.transform import Transform


@dataclass(frozen=True)
class ParameterStep:
    """A parameter's part in a step.

    Attributes:
        p, g: parameter and gradient; views of them as pairs of real numbers if they are complex.
        options: the options of its group and the numbers given by the core, by name.
        options_key: equal for parameters with equal options.
        states: the parameter's states by name, on the levels below WHOLE.
        extras: its extra inputs by name.
        group: its parameter group.
        param: the parameter itself.
        kept: the names of what each transform keeps among the states begin with this, by the transform's position.
        transforms: what is composed with the rule for it, by position.
        counted: where its steps are counted: its states, or those of the parameter of which it is a block.
    """

    p: Tensor
    g: Tensor
    options: Mapping[str, Any]
    options_key: Hashable
    states: dict[str, Any]
    extras: Mapping[str, Tensor]
    group: dict[str, Any]
    param: Tensor
    kept: Sequence[str]
    transforms: tuple[Transform, ...]
    counted: dict[str, Any]

    @property
    def is_block(self) -> bool:
        """True if it is a part of the parameter, which is a matrix of its own."""
        return self.counted is not self.states

    @property
    def shape(self) -> tuple[int, ...]:
        """The parameter's shape, which is not that of the pairs of a complex one; or the block's."""
        return tuple(self.p.shape) if self.is_block else shape_of(self.param)

    @property
    def nbytes(self) -> int:
        """Bytes of the parameter and its states."""
        return self.p.nbytes + sum(x.nbytes for x in self.states.values() if isinstance(x, Tensor))

    def key(self, place: Place) -> str:
        """The key, among the states, of the tensor at a place that outlives the step."""
        return key_of(
            place.name if place.transform is None else self.kept[place.transform] + place.name, place.position
        )

    def tensor(self, place: Place) -> Tensor:
        """The tensor at a place, as real numbers."""
        if place.transform is None and place.name in ("p", "g"):
            return self.p if place.name == "p" else self.g
        if place.transform is None and place.name in self.extras:
            return self.extras[place.name]
        return as_pairs(self.states[self.key(place)], self.param)

    def finish(self) -> None:
        """Put back what has stood for the parameter and its states, if anything did."""


@dataclass(frozen=True)
class RowsStep(ParameterStep):
    """The part in a step of the rows that a sparse gradient has: small tensors that stand for parameter and states.

    Attributes:
        rows: their numbers.
    """

    rows: Tensor

    @property
    def is_block(self) -> bool:
        """False: to the rule, the rows are the parameter."""
        return False

    def finish(self) -> None:
        """Put the rows back."""
        real(self.param.detach()).index_copy_(0, self.rows, self.p)
        for key, x in self.states.items():
            if x is not self.counted[key]:
                self.counted[key].index_copy_(0, self.rows, x)


def rows_of_states(own: Mapping[str, Any], p: Tensor, rows: Tensor) -> dict[str, Any]:
    """The rows of the states that have as many as the parameter; the others as they are."""

    def taken(x: Any) -> Any:
        by_rows = isinstance(x, Tensor) and x.ndim == p.ndim and x.shape[0] == p.shape[0]
        return x.index_select(0, rows) if by_rows else x

    return {key: taken(x) for key, x in own.items()}


def rows_of_gradient(g: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers of the rows that a sparse gradient has, each once, and their values."""
    g = g.coalesce()
    return g.indices()[0], g.values()
