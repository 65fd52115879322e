"""The iterations within one step of LBFGS."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
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
        step: the move in it.
        new_pairs: the pairs (y, s) that have come, the oldest first.
        iterations: those of all steps so far.
    """

    move: Vector
    gradient: Vector
    step: Vector
    new_pairs: Sequence[tuple[Vector, Vector]]
    iterations: int


@torch.no_grad()
def searched(
    loss: Loss,
    start: tuple[float, Vector],
    options: Any,
    *,
    history: Iterable[tuple[Vector, Vector]],
    last: tuple[Vector, Vector],
    iterations: int,
) -> Found | None:
    """The iterations of one step, with what they find; None if there is nothing to do.

    Args:
        loss: the parameters lie at the first point, and come back there.
        start: loss and gradient there.
        options: of the method.
        history: pairs so far, the oldest first.
        last: gradient and move of the iteration before.
        iterations: those so far.
    """
    f, g = start
    x = first = loss.here()
    # nothing is left of those of parameters that have been exchanged
    pairs = deque(((y, s) for y, s in history if dot(y, s) > 0), maxlen=options["history_size"])
    new_pairs: list[tuple[Vector, Vector]] = []
    max_eval = options["max_eval"] or options["max_iter"] * 5 // 4
    if not loss.lr or not loss.params or largest(g) <= options["tolerance_grad"]:
        return None
    for k in range(1, options["max_iter"] + 1):
        y = plus(g, last[0], -1)
        if iterations and dot(y, last[1]) > 1e-10:
            pairs.append((y, last[1]))
            new_pairs.append((y, last[1]))
        d = [share * r for share, r in zip(loss.shares, _direction(g, pairs), strict=True)]
        t = loss.lr * (1.0 if iterations else min(1.0, 1.0 / sum(map(total, (z.abs() for z in g)))))
        iterations += 1
        last, before, slope = (g, [torch.zeros_like(z) for z in g]), f, dot(g, d)
        if slope > -options["tolerance_change"]:
            break
        if options["line_search_fn"] is not None:
            trial = best_on(loss, x, d, Trial(0.0, f, slope, g), t, options, most=max_eval - loss.evaluations)
            t, f, g = trial.t, trial.f, trial.gradient
        x = moved(x, d, t)
        last = (last[0], [t * z for z in d])
        if options["line_search_fn"] is None and k < options["max_iter"]:
            f, g = loss.at(x)
        small = largest(last[1]) <= options["tolerance_change"] or abs(f - before) < options["tolerance_change"]
        if small or loss.evaluations >= max_eval or largest(g) <= options["tolerance_grad"]:
            break
    move = [b.to(z.dtype) - a.to(z.dtype) for a, b, z in zip(first, x, g, strict=True)]
    return Found(move, *last, new_pairs, iterations)


def _direction(g: Vector, pairs: Sequence[tuple[Vector, Vector]]) -> Vector:
    """-H g, by the two-loop recursion."""
    q, shares = [-z for z in g], []
    for y, s in reversed(pairs):
        shares.append((dot(s, q) / (ys := dot(y, s)), ys))
        q = plus(q, y, -shares[-1][0])
    if pairs:
        y, _ = pairs[-1]
        scale = shares[0][1] / dot(y, y)
        q = [scale * z for z in q]
    for (y, s), (a, ys) in zip(pairs, reversed(shares), strict=True):
        q = plus(q, s, a - dot(y, q) / ys)
    return q
