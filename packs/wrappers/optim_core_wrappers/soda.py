"""SODA."""

from __future__ import annotations

from typing import ClassVar

from optim_core.methods import state
from optim_core.rules import Inner, Value
from optim_core.wrapping import RuleWrapper


class Soda(RuleWrapper):
    """Pulls the weights towards where they began, by 1/2, 1/3, 1/4, ... of the way: no decay to be tuned.

    In the k-th step of a parameter, with w0 its value before the first one and w' what the base makes of w::

        w = w' + (w0 - w) / (k + 1)

    The pull does not depend on lr, so a schedule of lr changes the balance between the two, and with lr = 0 weights go
    back to where they began. The base's weight_decay should be 0: it would pull to zero as well. From scratch this
    keeps weights small; in fine-tuning it pulls to the pretrained ones. In the authors' code k counts the steps of the
    group, also those in which a parameter has no gradient.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.zeros(1))
        >>> optimizer = Soda(torch.optim.SGD([weight], lr=1.0))
        >>> for _ in range(2):
        ...     _ = optimizer.minimize(lambda: weight.sum())
        >>> round(weight.item(), 3)  # -1 - 1, and a third of the way from -1 to 0
        -1.667

    Source: Pethick et al., Optimistic Dual Averaging Unifies Modern Optimizers, 2026, https://arxiv.org/abs/2605.11172;
    the form of the wrapper from the authors' code.
    """

    elementwise: ClassVar[bool] = True

    z0 = state("the value before the first step", start="p")
    k = state("steps so far", level="tensor")

    @staticmethod
    def rule(p: Value, g: Value, inner: Inner, z0: Value, k: Value) -> tuple[Value, ...]:
        """The update above."""
        return inner(p, g).p + (z0 - p) / (k + 2), z0, k + 1
