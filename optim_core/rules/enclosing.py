"""Enclosing: a rule around a rule, which calls what it encloses and works with what that has made of the parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from optim_core.rules.graph import Place
from optim_core.rules.transform import Transform, qualified
from optim_core.rules.values import Value


class Moved(NamedTuple):
    """What the enclosed rule has made of the parameter.

    Attributes:
        p: the new parameter.
        start: the parameter from which the update was subtracted: after decay that acts on the parameter itself.
        gradient: the gradient of the loss as the innermost rule has seen it, without an L2 term.
        states: the new states of the innermost rule by their names; none of an optimizer that has no rule.
    """

    p: Value
    start: Value
    gradient: Value
    states: Mapping[str, Value] = MappingProxyType({})

    @property
    def update(self) -> Value:
        """The value that was subtracted, without decay."""
        return update_of(self.start, self.p)

    def since(self, p: Value) -> Value:
        """The way from p to the new parameter, as exactly as it is known: where nothing decays, minus the update."""
        return -self.update if self.start is p else self.p - p


#: What a rule around a rule calls: ``inner(p, g)``, with other options by keyword.
Inner: TypeAlias = Callable[..., Moved]


def update_of(p: Value, new_p: Value) -> Value:
    """The update: the value that has been subtracted from p."""
    return new_p.args[1] if new_p.op == "sub" and new_p.args[0] is p else p - new_p


@dataclass(frozen=True)
class Enclosing(Transform):
    """A rule around a rule.

    It is called as ``rule(p, g, inner, *states, **options)`` and returns p and its states, as every rule does.
    ``inner(p, g)`` calls what is enclosed, once, and returns :class:`Moved`; ``inner(p, g, eps=...)`` does so with
    other options, ``inner(p, g, denominator=change)`` with another value in the place of what it divides by, as
    :meth:`Transform.denominator` has it.

    Attributes:
        rule: the rule.
        apart: True if a wrapper keeps its states, False if they are among those of the method.
    """

    rule: Callable[..., Any]
    apart: bool

    def keywords(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options of the rule, from those of the method."""
        raise NotImplementedError

    def buffers(self, options: Mapping[str, Any], shape: tuple[int, ...]) -> Sequence[Any]:
        """What stands behind each position of the rule after ``inner``, for a parameter of a shape."""
        raise NotImplementedError

    def name_at(self, position: int, state: str) -> str:
        """The name of one of its states in a graph."""
        return qualified(position, state) if self.apart else state

    def place_at(self, position: int, place: Place) -> Place:
        """The place of a state's tensor."""
        return place._replace(transform=position) if self.apart else place
