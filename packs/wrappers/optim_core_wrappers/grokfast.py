"""GrokFast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from optim_core.methods import hyper, state
from optim_core.rules import Inner, Value, lerp, minimum, where
from optim_core.wrapping import RuleWrapper


class GrokFast(RuleWrapper):
    """Adds to each gradient a multiple of its slow part, so that what generalises late is learned early.

    ::

        "ema":  mu = alpha mu + (1 - alpha) g,  which begins as the first g;   g = g + lamb mu
        "ma":   g = g + lamb (mean or sum of the last window_size gradients, this one included)

    The averages are of the gradients as they come, not of the changed ones, and have no bias correction. "ma", which
    the authors use with lamb = 5, leaves gradients alone until the window is full (``warmup``), and keeps window_size
    tensors of each parameter's shape. An Adam inside divides a constant factor 1 + lamb out again; under SGD it is one
    of lr. Weight decay matters as much as lamb: L2 in the base comes after the filter and is not amplified.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.zeros(1))
        >>> optimizer = GrokFast(torch.optim.SGD([weight], lr=1.0), alpha=0.5)
        >>> _ = optimizer.minimize(lambda: weight.sum())
        >>> weight.item()  # 1 + 2 * 1
        -3.0

    Source: Lee et al., Grokfast: Accelerated Grokking by Amplifying Slow Gradients, 2024,
    https://arxiv.org/abs/2405.20233, Algorithms 1 and 2; ``after_step`` from lucidrains' class.
    """

    elementwise: ClassVar[bool] = True

    grokfast: bool = hyper(True, "change gradients at all")
    filter: str = hyper("ema", "what the slow part is: an average, or that of a window", choices=("ema", "ma"))
    alpha: float = hyper(0.98, "decay of the average (ema)", ge=0, lt=1, search=(0.8, 0.99))
    lamb: float = hyper(2.0, "factor of the slow part", ge=0, search=(0.1, 10.0))
    window_size: int = hyper(100, "gradients in the window (ma)", ge=1)
    filter_type: str = hyper("mean", "of the window (ma)", choices=("mean", "sum"))
    warmup: bool = hyper(True, "leave gradients alone until the window is full (ma)")
    after_step: int = hyper(0, "steps before the average begins (ema)", ge=0)

    grok_exp_avg = state("average of g", when=lambda options: options["grokfast"] and options["filter"] == "ema")
    queue = state(
        "the last gradients",
        copies="window_size",
        when=lambda options: options["grokfast"] and options["filter"] == "ma",
    )
    steps = state("gradients so far", level="tensor")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        inner: Inner,
        grok_exp_avg: Value,
        queue: Sequence[Value],
        steps: Value,
        *,
        grokfast: bool,
        filter: str,  # noqa: A002 - the authors' name
        alpha: Value,
        lamb: Value,
        window_size: int,
        filter_type: str,
        warmup: bool,
        after_step: Value,
    ) -> tuple[Value | Sequence[Value], ...]:
        """The update above."""
        if not grokfast:
            return inner(p, g).p, grok_exp_avg, queue, steps
        steps = steps + 1
        if filter == "ema":
            begun = steps > after_step
            mu = lerp(g, where(steps > after_step + 1, grok_exp_avg, g), alpha)
            return inner(p, where(begun, g + lamb * mu, g)).p, mu, queue, steps
        queue = [*queue[1:], g]
        slow = sum(queue[1:], queue[0])
        if filter_type == "mean":
            slow = slow / minimum(steps, float(window_size))
        filtered = g + lamb * slow
        return inner(p, where(steps >= window_size, filtered, g) if warmup else filtered).p, grok_exp_avg, queue, steps
