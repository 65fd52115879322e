"""ROSE."""

from __future__ import annotations

from typing import Any

from optim_core import RuleOptimizer, hyper
from optim_core.errors import InvalidOption
from optim_core.rules import Over, Value, amax, centred, maximum, mean, sign, sqrt, square, where


class ROSE(RuleOptimizer):
    """SGD on gradients that are divided by their range in each row: no state at all.

    Rows are what belongs to an index of the first dimension. With a and s the mean and the standard deviation of r over
    the rows::

        g = g - mean of its row                                   centralize
        r = |max g| - min g   of each row
        r = a + a / (a + s) (r - a)                               stabilize
        p = p max(0, 1 - lr weight_decay) - lr g / r              r = 0 counts as 1

    A vector is one row and is not centred, a single number moves by lr against the sign of g. Which axis comes first
    matters. The range is |max| - min, so that where all gradients of a row have one sign it is not what it seems: a
    vector of a single number moves by lr/2 up, but by lr g down. That is as in the author's code.

    wd_schedule is an lr at which the decay is full: 1 - lr/wd_schedule weight_decay; True takes the lr given here (the
    author's code asks schedulers for max_lr or initial_lr first). bfloat16 parameters are rounded as ``rounding`` says,
    "stochastic" there by default, and the arithmetic is in the parameters' type or float32, there float64.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = ROSE([w], lr=0.1, weight_decay=0.0).minimize(lambda: w.square().sum())  # g is 2, -4
        >>> [round(x, 3) for x in w.tolist()]
        [0.967, -1.933]

    Source: Rose: Range-Of-Slice Equilibration optimizer, 2026, https://github.com/MatthewK78/Rose; there is no
    paper.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    weight_decay: float = hyper(1e-4, "decoupled decay, times lr", ge=0)
    wd_schedule: bool | float = hyper(False, "lr at which the decay is full, True for the one given", ge=0)
    centralize: bool = hyper(True, "take the mean of each row off the gradient (2 dimensions and more)")
    stabilize: bool = hyper(True, "draw the ranges of rows towards their mean")

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """Settle what the decay is relative to."""
        del given
        if options["wd_schedule"] is True:
            options = options | {"wd_schedule": float(options["lr"])}
        if options["wd_schedule"] is not False and not options["wd_schedule"]:
            raise InvalidOption(f"{cls.__name__}: wd_schedule is an lr that the decay is relative to: it cannot be 0")
        return options

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        *,
        lr: Value,
        weight_decay: Value,
        wd_schedule: Value | bool,
        centralize: bool,
        stabilize: bool,
    ) -> Value:
        """The update above."""
        if weight_decay:
            share = lr if wd_schedule is False else lr / wd_schedule
            p_new = p * maximum(0.0, 1 - share * weight_decay)
        else:
            p_new = p
        if p.ndim == 0:
            return p_new - lr * sign(g)
        g.trace.refuse_complex("what it does with ranges of gradients")
        over: Over = "tensor" if p.ndim == 1 else "row"
        if p.ndim > 1 and centralize:
            g = centred(g, over)
        r = abs(amax(g, over)) + amax(-g, over)
        if p.ndim > 1 and stabilize:
            a = mean(r)
            s = sqrt(mean(square(r - a)))
            r = a + where(s + a > 0, a / (s + a), a) * (r - a)
        return p_new - lr * g / where(r > 0, r, 1.0)
