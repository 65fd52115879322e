"""Averages that need no bias correction, because their decay grows from 0."""

from __future__ import annotations

from optim_core.rules import Value


def debiased(beta: Value, step: Value) -> Value:
    """The decay with which an average is, in every step, what Adam's is after its bias correction: 0 in the first."""
    return beta * (1 - beta ** (step - 1)) / (1 - beta**step)
