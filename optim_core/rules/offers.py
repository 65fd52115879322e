"""Words by which a rule names what transforms may act on: its denominators, its second moment, its gains.

They return their argument as it is and cost nothing, unless a transform acts on it. What a rule names while it is
traced is collected on the trace, in its :class:`Offers`.

Example:
    >>> from optim_core.rules import Level, Trace
    >>> trace = Trace({})
    >>> trace.offers = Offers()
    >>> g, v = (trace.input(name, Level.ELEMENT) for name in "gv")
    >>> g / root(second_moment(v), 1e-8)
    div(g, add(sqrt(v), 1e-08))
    >>> len(trace.offers.denominators), trace.offers.second_moment
    (1, v)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from optim_core.rules.values import Level, Operand, Value
from optim_core.rules.vocabulary import size, sqrt


@dataclass(frozen=True, eq=False)
class Denominator:
    """A value by which a rule divides a direction.

    Attributes:
        value: all of it: with bias correction, eps included.
        bare: the same without bias correction and eps, such as the root of the average of g squared.
        correction: the bias correction of what is under that root, or None.
    """

    value: Value
    bare: Value
    correction: Operand | None = None

    def corrected(self, bare: Value) -> Value:
        """A value that stands in for ``self.bare``, with the bias correction."""
        return bare if self.correction is None else bare / sqrt(self.correction)


#: A transform's change to a denominator: returns another ``value``.
Change: TypeAlias = Callable[[Denominator], Value]


@dataclass(eq=False)
class Offers:
    """All that a rule names in one trace.

    Attributes:
        changes: what transforms make of denominators, the innermost first.
        denominators: pairs: what the rule divides by, and what it divides by instead; equal if no transform acts on it.
        second_moment: what the squares of its steps go by, without bias correction; None if the rule names none.
        correction: that bias correction, or None.
        gain: the product of the gains that the rule names; None if it names none.
    """

    changes: Sequence[Change] = ()
    denominators: list[tuple[Value, Value]] = field(default_factory=list)
    second_moment: Value | None = None
    correction: Operand | None = None
    gain: Operand | None = None

    def squares(self, p: Value) -> tuple[Value, Value]:
        """Two values whose totals are the sum of the corrected second moment over all elements, and their number.

        Both are zero where the rule names none: totals are over all parameters, so all have to take part.
        """
        n = size(p)
        if self.second_moment is None:
            return 0 * n, 0 * n
        v = self.second_moment if self.correction is None else self.second_moment / self.correction
        if v.level is Level.ELEMENT:
            return v, n
        return (v * size(p, "row") if v.level is Level.ROW else v * n), n


def denominator(
    x: Value, *, bare: Value | None = None, correction: Operand | None = None, scale: Operand | None = None
) -> Value:
    """x, by which the rule divides a direction; or what a transform puts in its place.

    Args:
        x: the denominator.
        bare: x without bias correction and eps; None if x is that already.
        correction: the bias correction of what is under the root in x, if there is one.
        scale: what x has to be divided by to be comparable with gradients: the root of ``correction``, if the rule
            corrects outside of x.
    """
    offers = _offers(x)
    if offers is None:
        return x
    result = x
    if offers.changes:
        d = Denominator(x if scale is None else x / scale, x if bare is None else bare, correction)
        for change in offers.changes:
            d = replace(d, value=change(d))
        result = d.value if scale is None else d.value * scale
    offers.denominators.append((x, result))
    return result


def root(v: Value, eps: Operand | None, correction: Operand | None = None, *, outside: bool = False) -> Value:
    """sqrt(v) / sqrt(correction) + eps, named as a denominator; v / correction might overflow.

    Args:
        v: an average of squares.
        eps: added to the root, or None.
        correction: the bias correction of v, if there is one.
        outside: the rule corrects outside of this: it is sqrt(v) + eps.
    """
    bare = sqrt(v)
    x = bare if outside or correction is None else bare / sqrt(correction)
    x = x if eps is None else x + eps
    return denominator(
        x, bare=bare, correction=correction, scale=None if correction is None or not outside else sqrt(correction)
    )


def second_moment(v: Value, correction: Operand | None = None) -> Value:
    """v, an average of squares such that the rule's steps are lr, times gains, over the root of v / correction."""
    offers = _offers(v)
    if offers is not None:
        offers.second_moment, offers.correction = v, correction
    return v


def gain(x: Value, factor: Operand) -> Value:
    """x, which under steady gradients approaches ``factor`` times what it is made of; for a sum of them factor > 1."""
    offers = _offers(x)
    if offers is not None:
        offers.gain = factor if offers.gain is None else offers.gain * factor
    return x


def _offers(x: object) -> Offers | None:
    """The offers of the trace of x; None if a rule is tried by hand, on numbers."""
    return x.trace.offers if isinstance(x, Value) else None
