"""The iterations within one step of LBFGS."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optim_core.methods import compute_dtype, full_tensor, real, total_dtype
from optim_core.optimizers import mean_over_ranks, put, taken
from optim_core_second_order.line_search import Trial, strong_wolfe

#: A vector over all parameters, in their parts.
Vector = list[Tensor]


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


class Loss:
    """The loss and its gradient at points near the parameters, which have gradients now.

    Args:
        optimizer: whose parameters.
        evaluate: computes gradients at the parameters as they are, and returns the loss.
    """

    def __init__(self, optimizer: Any, evaluate: Callable[[], Any]) -> None:
        self._optimizer, self._evaluate = optimizer, evaluate
        groups = [(p, g) for g in optimizer.param_groups for p in g["params"] if p.grad is not None and p.numel()]
        self.params = [p for p, _ in groups]
        self._signs = [-1 if group["maximize"] else 1 for _, group in groups]
        lrs = [float(group["lr"]) for _, group in groups]
        self.lr = max(lrs, default=0.0)
        #: lr of each parameter's group, as a share of the largest
        self.shares = [lr / self.lr if self.lr else 0.0 for lr in lrs]
        self.evaluations = 1

    def here(self) -> Vector:
        """The parameters."""
        return [real(p.detach()).clone(memory_format=torch.preserve_format) for p in self.params]

    def at(self, x: Sequence[Tensor]) -> tuple[float, Vector]:
        """Loss and gradient at a point."""
        self._place(x)
        self.evaluations += 1
        with torch.enable_grad():
            loss = self._evaluate()
        return self.measured(loss)

    def measured(self, loss: Any) -> tuple[float, Vector]:
        """A loss, and the gradients at hand, as one that is to fall."""
        mean = mean_over_ranks(loss.detach().to(total_dtype(loss.device)), self._optimizer)
        f = float(full_tensor(mean)) * (self._signs[0] if self._signs else 1)
        return f, [self._gradient(p, sign) for p, sign in zip(self.params, self._signs, strict=True)]

    @staticmethod
    def _gradient(p: Tensor, sign: int) -> Tensor:
        if p.grad is None:
            return torch.zeros_like(real(p.detach()), dtype=compute_dtype(real(p)))
        return real(p.grad.detach()).to(compute_dtype(real(p)), copy=True).mul_(sign)

    @contextmanager
    def there_and_back(self) -> Iterator[None]:
        """For the time of a ``with`` the parameters may be elsewhere; they and the gradients come back as they are."""
        here = self.here()
        gradients = taken(self._optimizer)
        try:
            yield
        finally:
            self._place(here)
            put(self._optimizer, gradients)

    @torch.no_grad()
    def _place(self, x: Sequence[Tensor]) -> None:
        for p, value in zip(self.params, x, strict=True):
            real(p).copy_(value)


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
    pairs = deque(((y, s) for y, s in history if _dot(y, s) > 0), maxlen=options["history_size"])
    new_pairs: list[tuple[Vector, Vector]] = []
    max_eval = options["max_eval"] or options["max_iter"] * 5 // 4
    if not loss.lr or not loss.params or _largest(g) <= options["tolerance_grad"]:
        return None
    for k in range(1, options["max_iter"] + 1):
        y = _plus(g, last[0], -1)
        if iterations and _dot(y, last[1]) > 1e-10:
            pairs.append((y, last[1]))
            new_pairs.append((y, last[1]))
        d = [share * r for share, r in zip(loss.shares, _direction(g, pairs), strict=True)]
        t = loss.lr * (1.0 if iterations else min(1.0, 1.0 / sum(map(_total, (z.abs() for z in g)))))
        iterations += 1
        last, before, slope = (g, [torch.zeros_like(z) for z in g]), f, _dot(g, d)
        if slope > -options["tolerance_change"]:
            break
        if options["line_search_fn"] is not None:
            trial = _best_on(loss, x, d, Trial(0.0, f, slope, g), t, options, most=max_eval - loss.evaluations)
            t, f, g = trial.t, trial.f, trial.gradient
        x = _moved(x, d, t)
        last = (last[0], [t * z for z in d])
        if options["line_search_fn"] is None and k < options["max_iter"]:
            f, g = loss.at(x)
        small = _largest(last[1]) <= options["tolerance_change"] or abs(f - before) < options["tolerance_change"]
        if small or loss.evaluations >= max_eval or _largest(g) <= options["tolerance_grad"]:
            break
    move = [b.to(z.dtype) - a.to(z.dtype) for a, b, z in zip(first, x, g, strict=True)]
    return Found(move, *last, new_pairs, iterations)


def _best_on(loss: Loss, x: Vector, d: Vector, start: Trial, t: float, options: Any, *, most: int) -> Trial:
    """Where the line search ends on x + t d."""

    def trial(t: float) -> Trial:
        f, g = loss.at(_moved(x, d, t))
        return Trial(t, f, _dot(g, d), g)

    return strong_wolfe(trial, start, t, most=most, tolerance=options["tolerance_change"] / _largest(d))


def _direction(g: Vector, pairs: Sequence[tuple[Vector, Vector]]) -> Vector:
    """-H g, by the two-loop recursion."""
    q, shares = [-z for z in g], []
    for y, s in reversed(pairs):
        shares.append((_dot(s, q) / (ys := _dot(y, s)), ys))
        q = _plus(q, y, -shares[-1][0])
    if pairs:
        y, _ = pairs[-1]
        scale = shares[0][1] / _dot(y, y)
        q = [scale * z for z in q]
    for (y, s), (a, ys) in zip(pairs, reversed(shares), strict=True):
        q = _plus(q, s, a - _dot(y, q) / ys)
    return q


# vectors --------------------------------------------------------------------------------------------------------
def _plus(a: Vector, b: Vector, factor: float) -> Vector:
    return [torch.add(x, y, alpha=factor) for x, y in zip(a, b, strict=True)]


def _moved(x: Vector, d: Vector, t: float) -> Vector:
    """x + t d, as the parameters can hold it."""
    return [torch.add(a, b, alpha=t).to(a.dtype) for a, b in zip(x, d, strict=True)]


def _total(x: Tensor) -> float:
    return float(full_tensor(x.sum(dtype=total_dtype(x.device))))


def _dot(a: Vector, b: Vector) -> float:
    sums = [full_tensor((x * y).sum(dtype=total_dtype(x.device))) for x, y in zip(a, b, strict=True)]
    return float(torch.stack([x.to(sums[0].device) for x in sums]).sum())


def _largest(a: Vector) -> float:
    tops = [full_tensor(x.abs().amax()) for x in a]
    return float(torch.stack([x.to(tops[0].device, total_dtype(tops[0].device)) for x in tops]).amax())
