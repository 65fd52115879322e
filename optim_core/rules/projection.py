"""The projection that AdamP and SGDP share, in the words of the vocabulary."""

from __future__ import annotations

from typing import Literal

from optim_core.rules.values import Operand, Value
from optim_core.rules.vocabulary import amax, dot, maximum, norm, size, sqrt, square, where


def tangential(d: Value, p: Value, g: Value, *, delta: Operand, eps: Operand) -> tuple[Value, Value]:
    """A direction without its part along weights whose length does not matter.

    A view x of p (each row by itself, or p as a whole) counts as scale-invariant if |cos(g, x)| < delta / sqrt(n) for
    all its rows of n numbers; rows are tried first. A row of zeros passes the test and loses nothing.

    Args:
        d: the direction.
        p: the weights, of two or more dimensions.
        g: their gradient, which is at right angles to scale-invariant weights.
        delta: the threshold.
        eps: keeps norms off zero.

    Returns:
        ``d - x (x . d) / (||x|| + eps)^2`` where p is scale-invariant, ``d`` elsewhere; and the condition that it is.
    """

    def cosine(over: Literal["row", "tensor"]) -> Value:
        lengths = maximum(norm(g, over), eps) * maximum(norm(p, over), eps)
        return abs(dot(g, p, over)) / lengths * sqrt(size(p, over))

    def share(over: Literal["row", "tensor"]) -> Value:
        return dot(p, d, over) / square(norm(p, over) + eps)

    rows, layer = amax(cosine("row")) < delta, cosine("tensor") < delta
    return d - where(rows, share("row"), where(layer, share("tensor"), 0.0)) * p, rows | layer
