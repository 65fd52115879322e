"""Transform: a change to gradient, parameter, denominator or update, composed with a rule before it is traced.

A transform describes; an :class:`Attachment` is its place at one optimizer: which parameters it leaves alone, and which
wrapper keeps tensors for it. Transforms are known by their positions in the optimizer's list, never by their class:
two of them may be equal, or of classes of one name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from optim_core.errors import RuleError
from optim_core.rules.offers import Denominator, Offers
from optim_core.rules.values import Value


class Transform:
    """A change to gradient or parameter before the rule, to what it divides by, or to the update after it.

    The identity unless overridden.

    Subclasses are small, hashable and picklable (frozen dataclasses serve well): two equal ones share a trace.
    """

    #: Names of tensors that the transform's wrapper keeps for each parameter: of its shape, its value at first.
    keeps: ClassVar[tuple[str, ...]] = ()
    #: Names of numbers that the transform's wrapper has for each step; :meth:`keep` finds them among the options.
    numbers: ClassVar[tuple[str, ...]] = ()
    #: True if the gradient is to hold the base's L2 term already; for this transform and those inside of it.
    after_l2: ClassVar[bool] = False

    def gradient(self, g: Value, p: Value) -> Value:
        """The gradient that the rule sees, of the loss to descend: with ``maximize`` its sign is turned already."""
        del p
        return g

    def parameter(self, p: Value, options: Mapping[str, Any]) -> Value:
        """The parameter that the rule starts from.

        Args:
            p: the parameter.
            options: the group's options by name, ``lr`` among them, as the rule sees them.
        """
        del options
        return p

    def options(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The options that the rule sees."""
        return options

    def denominator(self, d: Denominator) -> Value:
        """The value by which the rule divides, instead of ``d.value``."""
        return d.value

    def decay(self, p: Value, options: Mapping[str, Any], offers: Offers) -> Value:
        """The parameter from which the update is subtracted: a decay that goes by what the rule has named."""
        del options, offers
        return p

    def update(self, u: Value, g: Value, p: Value) -> Value:
        """The value that is subtracted from the parameter, instead of ``u``.

        Args:
            u: what the rule would subtract, without weight decay that acts on the parameter itself.
            g: the gradient after all transforms.
            p: the parameter from which it is subtracted.
        """
        del g, p
        return u

    def keep(self, new_p: Value, old: Sequence[Value], options: Mapping[str, Any]) -> Sequence[Value]:
        """The new values of what ``keeps`` lists.

        Args:
            new_p: the parameter after the step.
            old: their values before it, in order.
            options: the group's options by name, and the numbers that ``numbers`` lists.
        """
        del new_p, options
        return old

    def overrides(self, *methods: str) -> bool:
        """True if the transform's class defines one of these methods anew, so that it is not the identity there."""
        return any(getattr(type(self), name) is not getattr(Transform, name) for name in methods)


#: Stands in for a transform where a parameter is excluded, so that positions stay.
IDENTITY = Transform()


class Keeper(Protocol):
    """A wrapper that keeps tensors for its transform, and has numbers for it."""

    @property
    def kept(self) -> str:
        """What the names of the tensors begin with among the states of a parameter."""

    def numbers(self) -> Mapping[str, float]:
        """The numbers of this step by name, as :attr:`Transform.numbers` lists them."""


@dataclass(frozen=True, eq=False)
class Attachment:
    """A transform at an optimizer.

    Attributes:
        transform: what is composed with the rule.
        excluded: the parameters that it leaves alone; the set may grow with the optimizer's groups.
        keeper: keeps its tensors and has its numbers; None if it needs neither.

    Raises:
        RuleError: the transform keeps tensors or takes numbers, and there is no keeper.
    """

    transform: Transform
    excluded: Collection[object] = ()
    keeper: Keeper | None = None

    def __post_init__(self) -> None:
        """Refuse a transform without the keeper that it needs."""
        names = (*self.transform.keeps, *self.transform.numbers)
        if names and self.keeper is None:
            raise RuleError(
                f"{type(self.transform).__name__} needs a keeper for {', '.join(names)}: "
                "optimizer.add_transform(transform, keeper)"
            )


def transforms_for(attachments: Sequence[Attachment], p: object) -> tuple[Transform, ...]:
    """The transforms that act on a parameter, by position."""
    return tuple(IDENTITY if p in a.excluded else a.transform for a in attachments)


def qualified(position: int, name: str) -> str:
    """The name, in a graph and among its numbers, of what the transform at a position calls ``name``."""
    return f"transform{position}.{name}"
