"""Pieces between boundaries."""

from __future__ import annotations

from itertools import pairwise

from optim_core.methods import REQUIRED, hyper
from optim_core.schedules import Rate, Schedule, of_group
from optim_core_schedulers.schedule import listed, through


class Piecewise(Schedule):
    """The lr times a factor at each of some steps: by jumps, on lines, or along cosines.

    ::

        v_0 = init_value at b_0 = 0,  v_k = scale_k v_(k-1) at boundary b_k;  after the last boundary v_last
        lr at step n, with t = n - 1, b_k <= t < b_(k+1) and q = (t - b_k)/(b_(k+1) - b_k):
        v_k                                                       "none"
        v_k + (v_(k+1) - v_k) q                                   "linear"
        v_(k+1) + (v_k - v_(k+1)) (1 + cos(pi q))/2               "cosine"

    Scales act on the running value: 0.1 and 0.1 give 0.1 and 0.01. A jump shows in step b + 1, as with torch's
    ``MultiStepLR``; the other two move from the first step on. ``init_value`` is each group's own lr unless given.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> scheduler = Piecewise(optimizer, boundaries=[2, 4], scales=[0.5, 0.1], interpolate="linear")
        >>> for _ in range(6):
        ...     print(round(optimizer.param_groups[0]["lr"], 3), end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        1.0 0.75 0.5 0.275 0.05 0.05

    Source: optax's ``piecewise_constant_schedule`` and ``piecewise_interpolate_schedule``,
    https://optax.readthedocs.io/en/latest/api/optimizer_schedules.html.
    """

    init_value: float | tuple[float, ...] | None = hyper(None, "first lr, may differ by group; None: its own", ge=0)
    boundaries: tuple[int, ...] = listed(REQUIRED, "steps at which a scale acts, increasing", ge=0)
    scales: tuple[float, ...] = listed(REQUIRED, "a factor for each boundary", ge=0)
    interpolate: str = hyper("none", "how it goes from value to value", choices=("none", "linear", "cosine"))

    def check(self) -> None:
        """Refuse boundaries that do not rise, or that are not as many as the scales."""
        super().check()
        if any(one >= other for one, other in pairwise(self.boundaries)):
            raise self.reject(f"boundaries={self.boundaries} should rise: each after the one before")
        if len(self.boundaries) != len(self.scales):
            raise self.reject(
                f"{len(self.boundaries)} boundaries and {len(self.scales)} scales: give one scale for each boundary"
            )

    def rate(self, t: int, lr: Rate, k: int) -> Rate:
        """The value of the piece."""
        value: Rate = lr if self.init_value is None else of_group(self.init_value, k)
        points: list[tuple[float, Rate]] = [(0, value)]
        for boundary, scale in zip(self.boundaries, self.scales, strict=True):
            value = value * scale
            points.append((boundary, value))
        return through(points, t, self.interpolate)
