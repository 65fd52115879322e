"""Inverse square root with a cool-down."""

from __future__ import annotations

import math

from torch import Tensor

from optim_core.methods import REQUIRED, hyper
from optim_core.schedules import Rate, Schedule, of_group


class InverseSqrt(Schedule):
    """Up on a line, down as the inverse square root of the time, and at the end to the lowest lr: resumable anywhere.

    ::

        lr at step n, with t = n - 1, W = warmup_t, s = t - W and f = (s - t_initial + decay_t)/decay_t, at most 1:
        warmup_lr_init + (base - warmup_lr_init) t/W                             t < W
        a = max(base (1 + s/stable_timescale)^-stable_power, lr_min)             before the cool-down
        lr_min + (a - lr_min) D(f)                                               in it, a going on to fall

        D(f) = 1 - f "linear",  1 - sqrt(f) "1-sqrt",  (1 + cos(pi f))/2 "cosine",  1 - f^decay_power "power",
               (decay_ratio^f - decay_ratio)/(1 - decay_ratio) "exp"

    With ``stable_fn="rsqrt"`` the power is 1/2; ``stable_timescale`` is W unless given, which makes it the
    transformer's schedule, base sqrt(W/t). ``lr_min`` is reached one step after the last of t_initial. A step is a call
    of ``step()``, where timm counts epochs unless told otherwise.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> scheduler = InverseSqrt(optimizer, t_initial=5, decay_t=2, warmup_t=2)
        >>> for _ in range(8):
        ...     print(round(optimizer.param_groups[0]["lr"], 3), end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        0.0 0.5 1.0 0.816 0.707 0.632 0.289 0.0

    Source: Zhai et al., Scaling Vision Transformers, 2021, https://arxiv.org/abs/2106.04560, appendix; Vaswani et al.,
    Attention Is All You Need, 2017, https://arxiv.org/abs/1706.03762, equation 3; the options from timm.
    """

    needs = frozenset({"total_steps"})

    t_initial: int = hyper(REQUIRED, "steps after the warm-up, the cool-down included", ge=1)
    decay_t: int = hyper(REQUIRED, "steps of the cool-down, the last of t_initial", ge=1)
    lr_min: float | tuple[float, ...] = hyper(0.0, "lowest lr; may differ by group", ge=0)
    stable_fn: str = hyper("rsqrt", "how it falls before the cool-down", choices=("rsqrt", "power"))
    stable_timescale: float | None = hyper(None, "steps until the fall is felt; None: warmup_t", gt=0)
    stable_power: float = hyper(0.5, "power of the fall, for stable_fn='power'", gt=0)
    decay_fn: str = hyper("linear", "shape of the cool-down", choices=("linear", "1-sqrt", "cosine", "power", "exp"))
    decay_power: float = hyper(0.5, "for decay_fn='power'", gt=0)
    decay_ratio: float = hyper(0.1, "for decay_fn='exp': how far the exponential falls", gt=0, lt=1)
    warmup_t: int = hyper(0, "steps of the warm-up, before t_initial", ge=0)
    warmup_lr_init: float = hyper(0.0, "lr of the first step of the warm-up", ge=0)

    def check(self) -> None:
        """Refuse a cool-down that is longer than the whole, and a fall without a time scale."""
        super().check()
        if self.decay_t > self.t_initial:
            raise self.reject(f"decay_t={self.decay_t} is more than t_initial={self.t_initial}, of which it is the end")
        if self.stable_timescale is None and not self.warmup_t:
            raise self.reject("without a warm-up the fall needs stable_timescale=..., such as a tenth of t_initial")

    def rate(self, t: int, lr: Rate, k: int) -> Rate:
        """Up, down, and down to the end."""
        if t < self.warmup_t:
            return self.warmup_lr_init + (lr - self.warmup_lr_init) * t / self.warmup_t
        s, low = t - self.warmup_t, float(of_group(self.lr_min, k))
        power = self.stable_power if self.stable_fn == "power" else 0.5
        fallen: Rate = lr * (1 + s / (self.stable_timescale or self.warmup_t)) ** -power
        fallen = fallen.clamp(min=low) if isinstance(fallen, Tensor) else max(fallen, low)
        f = min(1.0, max(0.0, (s - self.t_initial + self.decay_t) / self.decay_t))
        return low + (fallen - low) * self._left(f)

    def _left(self, f: float) -> float:
        r = self.decay_ratio
        shapes: dict[str, float] = {
            "linear": 1 - f,
            "1-sqrt": 1 - math.sqrt(f),
            "cosine": (1 + math.cos(math.pi * f)) / 2,
            "power": 1 - f**self.decay_power,
            "exp": (r**f - r) / (1 - r),
        }
        return shapes[self.decay_fn]
