"""SNOO."""

from __future__ import annotations

from typing import ClassVar

from optim_core.methods import hyper, state
from optim_core.rules import Inner, Value, where
from optim_core.wrapping import RuleWrapper


class Snoo(RuleWrapper):
    """Every k steps of the base, takes what they did as a gradient, and steps with Nesterov momentum from there.

    With s the slow weights, which begin as the weights before the first step, and b their momentum::

        delta = s - w
        b = outer_momentum b + delta
        s = s - outer_lr (delta + outer_momentum b)
        w = s

    With outer_momentum = 0 that is Lookahead, with outer_lr = 1 besides the base itself; it is DiLoCo with one worker.
    In the long run it goes outer_lr / (1 - outer_momentum) times as far as the base, whose lr can be smaller. Evaluate
    right after an outer step. ``first_sync="at_once"`` has outer steps after steps 1, k + 1, 2k + 1, ..., which is what
    the authors' record does; the paper waits for k. The base's states are left alone. A schedule acts on the base's lr.
    Each parameter counts its own steps, and stands still in those in which it has no gradient.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = Snoo(torch.optim.SGD([weight], lr=0.25), k=1, outer_lr=1.0, outer_momentum=0.5)
        >>> _ = optimizer.minimize(lambda: weight.square().sum())
        >>> weight.item()  # delta is 0.5, and the step 1.5 times that
        0.25

    Source: Kallusky et al., SNOO: Step-K Nesterov Outer Optimizer, 2025, https://arxiv.org/abs/2510.15830, Algorithm 1;
    momentum without lr inside, as in torch's SGD.
    """

    elementwise: ClassVar[bool] = True

    outer_lr: float = hyper(0.7, "step size on what k steps did", gt=0, search=(0.3, 1.0))
    outer_momentum: float = hyper(0.6, "Nesterov momentum", ge=0, lt=1)
    k: int = hyper(30, "steps of the base per outer step", ge=1)
    first_sync: str = hyper("after_k", "the first outer step: after k, or 1", choices=("after_k", "at_once"))

    slow = state("the slow weights", start="p")
    outer_momentum_buffer = state("their momentum")
    steps = state("steps of the base since the last outer one", level="tensor")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        inner: Inner,
        slow: Value,
        outer_momentum_buffer: Value,
        steps: Value,
        *,
        outer_lr: Value,
        outer_momentum: Value,
        k: Value,
        first_sync: str,
    ) -> tuple[Value, ...]:
        """The update above."""
        w = inner(p, g).p
        steps = steps + 1
        # at once: from 0, the count goes on as from k after the first step, so that it is k + 1 at the next outer one
        due = steps >= k if first_sync == "after_k" else (steps >= k + 1) | (steps <= 1)
        delta = slow - w
        b = outer_momentum * outer_momentum_buffer + delta
        s = slow - outer_lr * (delta + outer_momentum * b)
        rest = 0.0 if first_sync == "after_k" else 1.0
        return where(due, s, w), where(due, s, slow), where(due, b, outer_momentum_buffer), where(due, rest, steps)
