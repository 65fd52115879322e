"""Evaluations by a closure that may not do all it should: zero the gradients, and call backward, each time.

Hosts hand in closures that do otherwise: Lightning's does not zero the gradients while they accumulate, and one of a
loop that has called backward already does nothing. A method that evaluates once can leave that to its user; one that
compares gradients of several evaluations cannot.

How many backward passes have added to a gradient stands on the gradient itself, put there by a hook on the parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer
from torch.utils.weak import WeakTensorKeyDictionary

from optim_core.engines.sharded import full_tensor
from optim_core.errors import ClosureError
from optim_core.optimizers.gradients import parameters

Gradients: TypeAlias = list[Tensor | None]

#: (passes, version after the last one) of a gradient.
_PASSES = "_optim_core_passes"
#: (passes, version) of a gradient when an evaluation began; passes are None if unknown.
_AT_START = "_optim_core_at_start"

_counted: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def count_passes(params: Iterable[Tensor]) -> None:
    """Count, from now on, how many backward passes have added to each gradient of these parameters."""
    for p in params:
        if p.requires_grad and p.is_leaf and p not in _counted:
            p.register_post_accumulate_grad_hook(_count)  # type: ignore[no-untyped-call]
            _counted[p] = True


def _count(p: Tensor) -> None:
    if p.grad is None:
        return
    marks = p.grad.__dict__
    passes, version = marks.get(_PASSES) or marks.get(_AT_START) or (0, None)
    if version is not None and p.grad._version != version + 1:  # zeroed in place since
        marks.pop(_AT_START, None)
        passes = 0
    marks[_PASSES] = (None if passes is None else passes + 1, p.grad._version)


def _mark_start(gradients: Sequence[Tensor]) -> None:
    """Put on gradients what is in them before an evaluation."""
    others = []  # written to since, by zero_grad(set_to_none=False) or DDP, say; or of unknown origin
    for g in gradients:
        passes, version = g.__dict__.get(_PASSES, (None, None))
        if version != g._version:
            others.append(g)
        g.__dict__.pop(_PASSES, None)
        g.__dict__[_AT_START] = (passes, g._version)
    if others:
        filled = torch.stack([full_tensor(g.detach().any()).to(others[0].device) for g in others]).tolist()
        for g, some in zip(others, filled, strict=True):
            if not some:
                g.__dict__[_AT_START] = (0, g._version)


def taken(optimizer: Optimizer) -> Gradients:
    """Take the gradients off the parameters."""
    gradients = [p.grad for p in parameters(optimizer)]
    put(optimizer, [None] * len(gradients))
    return gradients


def put(optimizer: Optimizer, gradients: Gradients) -> None:
    """Give the parameters gradients."""
    for p, g in zip(parameters(optimizer), gradients, strict=True):
        p.grad = g


def combined(a: Sequence[Tensor | None], b: Sequence[Tensor | None], factor: float) -> Gradients:
    """a + factor * b, where None counts as 0."""
    pairs = zip(a, b, strict=True)
    return [x if y is None else factor * y if x is None else x + factor * y for x, y in pairs]


class Evaluations:
    """The evaluations of one step, with a closure that is not trusted.

    Let G be the gradients that stand there before the first evaluation. A closure that zeroes them leaves g; one that
    does not leaves G + g, the sum of n backward passes where g is that of one. Then ``passes`` is n, and what another
    evaluation finds, which is zeroed for, is about the n-th part of what it would be for all of them.

    Args:
        optimizer: whose parameters' gradients.
        run: the closure, as ``collect`` gets it.
        owner: the method, for messages.
    """

    def __init__(self, optimizer: Optimizer, run: Callable[[], Any], owner: str) -> None:
        self._optimizer, self._run, self._owner = optimizer, run, owner
        #: Backward passes in the gradients that :meth:`first` has left, as a multiple of those of one evaluation.
        self.passes = 1.0
        count_passes(parameters(optimizer))

    def first(self, *, may_rest: bool = False) -> Any:
        """Evaluate as the closure does it.

        Args:
            may_rest: accept a closure that leaves the gradients as they are.

        Raises:
            ClosureError: it has not called backward, or adds to gradients of which nobody knows what is in them.
        """
        params = parameters(self._optimizer)
        _mark_start([p.grad for p in params if p.grad is not None])
        try:
            loss = self._run()
            changed = [
                p.grad
                for p in params
                if p.grad is not None and p.grad._version != p.grad.__dict__.get(_AT_START, (None, None))[1]
            ]
            if not (changed or may_rest):
                raise ClosureError(self._idle())
            self.passes = max(map(self._passes_of, changed), default=1.0)
        finally:
            for p in params:
                marks = {} if p.grad is None else p.grad.__dict__
                if _AT_START in marks:
                    marks.setdefault(_PASSES, marks.pop(_AT_START))
        return loss

    def anew(self, *, may_rest: bool = False) -> Any:
        """As :meth:`first`, where the gradients must be those of one evaluation: it is not at the weights themselves.

        Raises:
            ClosureError: as :meth:`first`; or gradients were there before.
        """
        loss = self.first(may_rest=may_rest)
        if self.passes != 1:
            raise ClosureError(self._adds())
        return loss

    def alone(self) -> Any:
        """Evaluate with gradients zeroed, whether or not the closure does that.

        Raises:
            ClosureError: it has not called backward.
        """
        put(self._optimizer, [None] * len(parameters(self._optimizer)))
        loss = self._run()
        if all(p.grad is None for p in parameters(self._optimizer)):
            raise ClosureError(self._idle())
        return loss

    def _passes_of(self, g: Tensor) -> float:
        if _AT_START not in g.__dict__:
            return 1.0
        before, after = g.__dict__[_AT_START][0], g.__dict__.get(_PASSES, (None, None))[0]
        if before is None or after is None:
            raise ClosureError(self._adds())
        return float(after / (after - before))

    def _adds(self) -> str:
        return (
            f"{self._owner} evaluates the loss itself, and the closure adds to gradients that were there before: have "
            "it call optimizer.zero_grad() first; or, where gradients accumulate, use optimizer.minimize(closure) with "
            "a closure that yields the loss in parts"
        )

    def _idle(self) -> str:
        return (
            f"{self._owner} evaluates the loss itself, but the closure has not called backward(): use "
            "optimizer.minimize(closure) with a closure that returns the loss, or step(closure) with one that zeroes "
            "the gradients, computes the loss and calls backward, each time that it is called"
        )
