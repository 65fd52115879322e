"""One cycle in optax's terms: up and far down, on lines or cosines."""

from __future__ import annotations

from typing import ClassVar

from optim_core.methods import REQUIRED, hyper
from optim_core.schedules import Rate, Schedule, of_group
from optim_core_schedulers.schedule import through


class OneCycle(Schedule):
    """Up and far down; subclasses say through which points."""

    needs = frozenset({"total_steps"})
    curve: ClassVar[str]

    transition_steps: int = hyper(REQUIRED, "T, steps of the whole", ge=1)
    peak_value: float | tuple[float, ...] | None = hyper(None, "highest lr, may differ by group; None: its own", ge=0)
    pct_start: float = hyper(0.3, "share of the steps up to the peak, cut to whole steps", ge=0, le=1)
    div_factor: float = hyper(25.0, "peak over the first lr", gt=0)
    final_div_factor: float = hyper(1e4, "first lr over the last", gt=0)

    def rate(self, t: int, lr: Rate, k: int) -> Rate:
        """The value on the way."""
        peak: Rate = lr if self.peak_value is None else of_group(self.peak_value, k)
        first = peak / self.div_factor
        points = [(0, first), (int(self.pct_start * self.transition_steps), peak), *self.middle(first)]
        return through([*points, (self.transition_steps, first / self.final_div_factor)], t, self.curve)

    def middle(self, first: Rate) -> list[tuple[int, Rate]]:
        """Points between the peak and the end."""
        del first
        return []


class CosineOneCycle(OneCycle):
    """Up to a large lr and far down in one cycle, along cosines.

    ::

        first = peak_value/div_factor,  last = first/final_div_factor,  P = int(pct_start T)
        lr at step n, with t = n - 1:  first to peak_value for t from 0 to P,  peak_value to last for t from P to T
        from a at A to b at B:  b + (a - b) (1 + cos(pi (t - A)/(B - A)))/2

    The peak comes in step P + 1 and the end in step T + 1: one step later than with torch's ``OneCycleLR``, which does
    not cut P either, and moves the momentum too. ``peak_value`` is each group's own lr unless given.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> scheduler = CosineOneCycle(optimizer, transition_steps=6, pct_start=0.4, div_factor=10.0)
        >>> for _ in range(7):
        ...     print(round(optimizer.param_groups[0]["lr"], 3), end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        0.1 0.55 1.0 0.854 0.5 0.146 0.0

    Source: Smith and Topin, Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates, 2017,
    https://arxiv.org/abs/1708.07120, as optax's ``cosine_onecycle_schedule``.
    """

    curve = "cosine"


class LinearOneCycle(OneCycle):
    """Up to a large lr, down again, and then far down, on straight lines: the paper's own shape.

    ::

        first = peak_value/div_factor,  last = first/final_div_factor,  P = int(pct_start T),  F = int(pct_final T)
        lr at step n, with t = n - 1:  first at 0, peak_value at P, first at F, last from T on

    optax's description of the last phase gives peak_value/final_div_factor for its end; its code does what stands here.
    See :class:`CosineOneCycle` for what torch's ``OneCycleLR`` does otherwise.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> scheduler = LinearOneCycle(optimizer, transition_steps=6, pct_start=0.34, pct_final=0.67, div_factor=10.0)
        >>> for _ in range(7):
        ...     print(round(optimizer.param_groups[0]["lr"], 3), end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        0.1 0.55 1.0 0.55 0.1 0.05 0.0

    Source: Smith and Topin, Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates, 2017,
    https://arxiv.org/abs/1708.07120, as optax's ``linear_onecycle_schedule``.
    """

    curve = "linear"

    pct_final: float = hyper(0.85, "share of the steps at whose end the first lr is reached again", ge=0, le=1)

    def check(self) -> None:
        """Refuse a way down that ends before the way up."""
        super().check()
        if self.pct_final < self.pct_start:
            raise self.reject(f"pct_final={self.pct_final:g} comes before the peak, pct_start={self.pct_start:g}")

    def middle(self, first: Rate) -> list[tuple[int, Rate]]:
        """Down to the first lr."""
        return [(int(self.pct_final * self.transition_steps), first)]
