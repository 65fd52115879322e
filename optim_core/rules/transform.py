"""Transform: a change to gradient, parameter, denominator or update, composed with a rule before it is traced."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

from optim_core.rules.offers import Denominator, Offers
from optim_core.rules.values import Value


class Transform:
    """A change to gradient or parameter before the rule, to what it divides by, or to the update after it.

    The identity unless overridden.

    Subclasses are small, hashable and picklable (frozen dataclasses serve well): two equal ones share a trace.
    """

    #: Names of tensors that the transform's wrapper keeps for each parameter: of its shape, its value at first.
    keeps: ClassVar[tuple[str, ...]] = ()
    #: Whether the gradient is to hold the base's L2 term already; for this transform and those inside of it.
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
        """What the rule divides by, in the place of ``d.value``."""
        return d.value

    def decayed(self, p: Value, options: Mapping[str, Any], offers: Offers) -> Value:
        """The parameter from which the update is subtracted: a decay that goes by what the rule has named."""
        del options, offers
        return p

    def update(self, u: Value, g: Value, p: Value) -> Value:
        """What is subtracted from the parameter, from what the rule would subtract.

        Args:
            u: what would be subtracted; no weight decay that acts on the parameter itself.
            g: the gradient as it has come out of the transforms.
            p: the parameter from which it is subtracted.
        """
        del g, p
        return u

    def keep(self, new_p: Value, kept: Sequence[Value], options: Mapping[str, Any]) -> Sequence[Value]:
        """The new values of what is kept; ``options`` hold the wrapper's numbers too."""
        del new_p, options
        return kept

    @classmethod
    def buffers(cls, place: int) -> list[str]:
        """The names of the buffers of the graph that hold what is kept.

        Args:
            place: the transform's among those composed with the rule.
        """
        return [f"transform{place}.{name}" for name in cls.keeps]


def acting(
    transforms: tuple[Transform, ...], spared: Mapping[Transform, Collection[object]], p: object
) -> tuple[Transform, ...]:
    """Those of the transforms that do not spare a parameter."""
    if not any(spared.values()):
        return transforms
    return tuple(t for t in transforms if p not in spared.get(t, ()))
