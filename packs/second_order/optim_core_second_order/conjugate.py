"""The iterations within one step of nonlinear conjugate gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from optim_core_second_order.line_search import Trial
from optim_core_second_order.search import Loss, Vector, best_on, dot, largest, moved, plus, total


@dataclass(frozen=True)
class Found:
    """What the iterations of a step have found.

    Attributes:
        move: from the first point to the last.
        gradient: that at the beginning of the last iteration.
        direction: of the last iteration.
        promise: the slope along it times the length of the move.
        iterations: those of all steps so far.
    """

    move: Vector
    gradient: Vector
    direction: Vector
    promise: float
    iterations: int


def _polak_ribiere(g: Vector, before: Vector, d: Vector) -> float:
    del d
    return max(0.0, _ratio(dot(g, plus(g, before, -1)), dot(before, before)))


def _hager_zhang(g: Vector, before: Vector, d: Vector) -> float:
    y = plus(g, before, -1)
    curvature = dot(d, y)
    b = _ratio(dot(y, g) - 2 * _ratio(dot(y, y), curvature) * dot(d, g), curvature)
    return max(b, -_ratio(1.0, math.sqrt(dot(d, d)) * min(0.01, math.sqrt(dot(before, before)))))


def _dai_yuan(g: Vector, before: Vector, d: Vector) -> float:
    return _ratio(dot(g, g), dot(d, plus(g, before, -1)))


_FORMULAS: Mapping[str, Callable[[Vector, Vector, Vector], float]] = {
    "polak_ribiere": _polak_ribiere,
    "hager_zhang": _hager_zhang,
    "dai_yuan": _dai_yuan,
}


def _ratio(a: float, b: float) -> float:
    """a / b, and 0, which begins anew, where that is nothing."""
    return a / b if b and math.isfinite(a / b) else 0.0


@torch.no_grad()
def descended(
    loss: Loss,
    start: tuple[float, Vector],
    options: Any,
    *,
    last: tuple[Vector, Vector],
    promise: float,
    iterations: int,
) -> Found | None:
    """The iterations of one step, with what they find; None if there is nothing to do.

    Args:
        loss: the parameters lie at the first point, and come back there.
        start: loss and gradient there.
        options: of the method.
        last: gradient and direction of the iteration before.
        promise: the slope along that direction times the length of the move.
        iterations: those so far.
    """
    f, g = start
    x = first = loss.here()
    max_eval = options["max_eval"] or options["max_iter"] * 3
    if not loss.lr or not loss.params or largest(g) <= options["tolerance_grad"]:
        return None
    for _ in range(options["max_iter"]):
        d = _direction(g, last, loss, options["formula"]) if iterations else [-z for z in g]
        line = [share * z for share, z in zip(loss.shares, d, strict=True)]
        before, slope = f, dot(g, line)
        known = iterations and promise < 0
        t = promise / slope if known and slope else min(1.0, 1.0 / sum(total(z.abs()) for z in g))
        iterations, last = iterations + 1, (g, d)
        if slope > -options["tolerance_change"]:
            promise = 0.0
            break
        most = max_eval - loss.evaluations
        here = Trial(0.0, f, slope, g)
        trial = best_on(loss, x, line, here, loss.lr * t, options, most=most, c2=options["c2"])
        f, g, promise = trial.f, trial.gradient, trial.t * slope
        x = moved(x, line, trial.t)
        small = trial.t * largest(line) <= options["tolerance_change"] or abs(f - before) < options["tolerance_change"]
        if small or loss.evaluations >= max_eval or largest(g) <= options["tolerance_grad"]:
            break
    move = [b.to(z.dtype) - a.to(z.dtype) for a, b, z in zip(first, x, g, strict=True)]
    return Found(move, *last, promise, iterations)


def _direction(g: Vector, last: tuple[Vector, Vector], loss: Loss, formula: str) -> Vector:
    """The next direction; the steepest one where it would not descend."""
    steepest, (before, d) = [-z for z in g], last
    found = plus(steepest, d, _FORMULAS[formula](g, before, d))
    slope = dot(g, [share * z for share, z in zip(loss.shares, found, strict=True)])
    return found if slope < 0 else steepest
