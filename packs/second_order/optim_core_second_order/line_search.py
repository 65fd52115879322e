"""A line search for the strong Wolfe conditions, with cubic interpolation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

#: Sufficient decrease.
_C1 = 1e-4


class Trial(NamedTuple):
    """A point on the line.

    Attributes:
        t: where, in lengths of the direction.
        f: the loss there.
        slope: its derivative along the direction.
        gradient: the gradient there.
    """

    t: float
    f: float
    slope: float
    gradient: Any


def strong_wolfe(
    evaluate: Callable[[float], Trial], start: Trial, t: float, *, most: int, tolerance: float, c2: float = 0.9
) -> Trial:
    """A point that fulfils the conditions, or the best one that has been found.

    Args:
        evaluate: the loss and its slope at some t.
        start: the point at t = 0.
        t: the first trial.
        most: trials after the first.
        tolerance: the width of a bracket that is not worth another trial.
        c2: the share of the slope that may be left.
    """
    previous, new, trials = start, evaluate(t), 0
    while trials < most:
        if new.f > start.f + _C1 * new.t * start.slope or (trials > 1 and new.f >= previous.f):
            break
        if abs(new.slope) <= -c2 * start.slope:
            return new
        if new.slope >= 0:
            break
        bounds = (new.t + 0.01 * (new.t - previous.t), 10 * new.t)
        previous, new, trials = new, evaluate(_cubic(previous, new, bounds)), trials + 1
    if trials == most:
        return min(start, new, key=lambda trial: trial.f)
    return _zoomed(evaluate, start, [previous, new], most=most - trials, tolerance=tolerance, c2=c2)


def _zoomed(
    evaluate: Callable[[float], Trial], start: Trial, bracket: list[Trial], *, most: int, tolerance: float, c2: float
) -> Trial:
    """The search within a bracket whose ends hold a point that fulfils the conditions between them."""
    near_an_end = False
    low = 0 if bracket[0].f <= bracket[1].f else 1
    for _ in range(most):
        left, right = sorted(trial.t for trial in bracket)
        if right - left < tolerance:
            break
        t = _cubic(bracket[0], bracket[1], (left, right))
        t, near_an_end = _away_from_ends(t, left, right, again=near_an_end)
        new = evaluate(t)
        if new.f > start.f + _C1 * new.t * start.slope or new.f >= bracket[low].f:
            bracket[1 - low] = new
            low = 0 if bracket[0].f <= bracket[1].f else 1
            continue
        done = abs(new.slope) <= -c2 * start.slope
        if not done and new.slope * (bracket[1 - low].t - bracket[low].t) >= 0:
            bracket[1 - low] = bracket[low]
        bracket[low] = new
        if done:
            break
    return bracket[low]


def _away_from_ends(t: float, left: float, right: float, *, again: bool) -> tuple[float, bool]:
    """A trial at an end, or near one twice in a row, is moved; and whether it is near one now."""
    least = 0.1 * (right - left)
    if min(right - t, t - left) >= least:
        return t, False
    if again or t >= right or t <= left:
        return (right - least if abs(t - right) < abs(t - left) else left + least), False
    return t, True


def _cubic(a: Trial, b: Trial, bounds: tuple[float, float]) -> float:
    """The minimum of the cubic with the values and slopes of two trials, within bounds; their middle if there is none.

    Where the arithmetic has no result, the trials being equal or not finite, it is the middle as well.
    """
    a, b = (a, b) if a.t <= b.t else (b, a)
    low, high = bounds
    if a.t == b.t or not all(map(math.isfinite, (*a[:3], *b[:3]))):
        return (low + high) / 2
    d1 = a.slope + b.slope - 3 * (a.f - b.f) / (a.t - b.t)
    square = d1**2 - a.slope * b.slope
    if square < 0:
        return (low + high) / 2
    d2 = math.sqrt(square)
    below = b.slope - a.slope + 2 * d2
    t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / below) if below else math.nan
    return min(max(t, low), high) if math.isfinite(t) else (low + high) / 2
