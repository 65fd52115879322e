"""A warm-up and a power of half a cosine, in optax's terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optim_core.methods import REQUIRED, hyper
from optim_core.schedules import Rate, Schedule, of_group
from optim_core_schedulers.schedule import CURVES


def warmed_cosine(t: int, peak: Rate, o: Mapping[str, Any]) -> Rate:
    """The value t steps after the start, with the options of :class:`WarmupCosine`."""
    warmup: int = o["warmup_steps"]
    init: float = o["init_value"]
    end: float = o["end_value"]
    exponent: float = o["exponent"]
    if t < warmup:
        return init + (peak - init) * t / warmup
    x = min(1.0, (t - warmup) / (o["decay_steps"] - warmup))
    left: float = CURVES["cosine"](x) ** exponent
    return end + (peak - end) * left


class WarmupCosine(Schedule):
    """Up on a line, then down along a power of half a cosine, within a number of steps that counts the warm-up in.

    ::

        lr at step n, with t = n - 1, W warm-up and T decay_steps:
        init_value + (peak_value - init_value) t/W                                                  t < W
        end_value + (peak_value - end_value) ((1 + cos(pi (t - W)/(T - W)))/2)^exponent             W <= t < T
        end_value                                                                                  after it

    ``decay_steps`` is the length of the whole, unlike almost everywhere else. All values are absolute; ``peak_value``
    is each group's own lr unless given. The first step has ``init_value``, and so moves nothing by default. With
    exponent 1 this is ``cosine``.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> scheduler = WarmupCosine(optimizer, warmup_steps=2, decay_steps=6, exponent=2.0)
        >>> for _ in range(7):
        ...     print(round(optimizer.param_groups[0]["lr"], 3), end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        0.0 0.5 1.0 0.729 0.25 0.021 0.0

    Source: Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, 2016,
    https://arxiv.org/abs/1608.03983, equation 5; warm-up and exponent as in optax's ``warmup_cosine_decay_schedule``.
    """

    needs = frozenset({"total_steps"})

    peak_value: float | tuple[float, ...] | None = hyper(None, "highest lr, may differ by group; None: its own", ge=0)
    init_value: float = hyper(0.0, "lr of the first step of the warm-up", ge=0)
    warmup_steps: int = hyper(REQUIRED, "steps up to peak_value, which comes after them", ge=0)
    decay_steps: int = hyper(REQUIRED, "steps of the whole, the warm-up included", ge=1)
    end_value: float = hyper(0.0, "lr at the end and from then on", ge=0)
    exponent: float = hyper(1.0, "power of the cosine's factor", gt=0)

    def check(self) -> None:
        """Refuse a warm-up that leaves nothing of the whole."""
        super().check()
        if self.warmup_steps >= self.decay_steps:
            raise self.reject(
                f"warmup_steps={self.warmup_steps} leaves nothing of decay_steps={self.decay_steps}, which count the "
                "warm-up in"
            )

    def rate(self, t: int, lr: Rate, k: int) -> Rate:
        """Up, then down."""
        return warmed_cosine(t, lr if self.peak_value is None else of_group(self.peak_value, k), vars(self))
