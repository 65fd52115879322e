"""Warm-up, stable phase, decay."""

from __future__ import annotations

import math

from optim_core.methods import REQUIRED, hyper
from optim_core.schedules import Rate, Schedule


class WarmupStableDecay(Schedule):
    """Up on a line, a long time at the top, and down late: the stable phase can be prolonged, or decayed from anywhere.

    ::

        lr at step n = the group's lr times, with t = n - 1 and r = min_lr_ratio,
        r + (1 - r) t/W                     t < W = warmup_steps
        1                                   for S = stable_steps after it
        r + (1 - r) f(p)                    for D = decay_steps after it, p = (t - W - S)/D
        r                                   from then on

        f(p) = 1 - p "linear",  (1 + cos(pi p))/2 "cosine",  1 - sqrt(p) "1-sqrt"

    The first step of a warm-up has a share ``min_lr_ratio`` of the lr, and so moves nothing by default. Some ports
    apply that ratio to the cosine only. "1-sqrt" (Haegele et al., https://arxiv.org/abs/2405.18392) falls steeply at
    once; the paper below has an exponential decay, which none of the three is.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> scheduler = WarmupStableDecay(optimizer, warmup_steps=2, stable_steps=2, decay_steps=4, decay_type="linear")
        >>> for _ in range(9):
        ...     print(optimizer.param_groups[0]["lr"], end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        0.0 0.5 1.0 1.0 1.0 0.75 0.5 0.25 0.0

    Source: Hu et al., MiniCPM: Unveiling the Potential of Small Language Models with Scalable Training Strategies,
    2024, https://arxiv.org/abs/2404.06395; the shapes of ``get_wsd_schedule`` in transformers.
    """

    needs = frozenset({"total_steps"})

    warmup_steps: int = hyper(REQUIRED, "steps up to the group's lr, which comes after them", ge=0)
    stable_steps: int = hyper(REQUIRED, "steps at the group's lr", ge=0)
    decay_steps: int = hyper(REQUIRED, "steps down", ge=0)
    decay_type: str = hyper("cosine", "shape of the decay", choices=("linear", "cosine", "1-sqrt"))
    min_lr_ratio: float = hyper(0.0, "lowest lr, as a share of the group's", ge=0, le=1)

    def rate(self, t: int, lr: Rate, k: int) -> Rate:
        """The group's lr times the factor of the phase."""
        del k
        return lr * (self.min_lr_ratio + (1 - self.min_lr_ratio) * self._share(t))

    def _share(self, t: int) -> float:
        if t < self.warmup_steps:
            return t / self.warmup_steps
        t -= self.warmup_steps + self.stable_steps
        if t < 0:
            return 1.0
        if t >= self.decay_steps:
            return 0.0
        p = t / self.decay_steps
        return {"linear": 1 - p, "cosine": (1 + math.cos(math.pi * p)) / 2, "1-sqrt": 1 - math.sqrt(p)}[self.decay_type]
