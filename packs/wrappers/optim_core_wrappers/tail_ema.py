"""A running average over the end of the training, blended into the weights."""

from __future__ import annotations

import torch
from torch import Tensor

from optim_core.methods import hyper
from optim_core_wrappers.averaging import RunningAverage


class TailEMA(RunningAverage):
    """Keeps a running average from some step on, and blends it into the weights to evaluate with.

    After step n of the base, with weights w::

        e = w                   n <= max(start_step, 1)
        e = e + (w - e)/tau     after it
        evaluated: w + blend (e - w), so w itself before start_step

    Begin at least 5 tau before the end. For a cool-down of power p that would end at T, evaluated at N, the records
    take tau = (T - N)/p. ``blend = 1`` is the average alone, which lags behind weights that still move; around 0.6 was
    best there. They blend once, into the last weights; here ``with optimizer.averaged(): ...`` and :meth:`eval` do, and
    :meth:`train` goes back exactly. See :class:`EMA` for what both share.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = TailEMA(torch.optim.SGD([weight], lr=0.5), tau=2.0, blend=0.5)
        >>> for _ in range(2):
        ...     _ = optimizer.minimize(lambda: 0.5 * weight.square().sum())
        >>> with optimizer.averaged():  # halfway from 0.25 to 0.375, the average of the weights after two steps
        ...     weight.item()
        0.3125

    Source: modded-nanogpt's optimization benchmark, result 45, https://github.com/KellerJordan/modded-nanogpt/pull/325.
    """

    start_step: int = hyper(0, "steps before the average begins", ge=0)
    tau: float = hyper(150.0, "time constant of the average, in steps", ge=1, search=(10.0, 1000.0))
    blend: float = hyper(0.6, "share of the average in the weights to evaluate with; above 1 goes beyond it")

    def share_kept(self, steps: int) -> float:
        """0 until the average begins, then 1 - 1/tau."""
        return 0.0 if steps < max(self.options["start_step"], 1) else 1 - 1 / float(self.options["tau"])

    def average_of(self, p: Tensor) -> Tensor | None:
        """The blend."""
        average = super().average_of(p)
        if average is None:
            return None
        return torch.lerp(p.detach().to(average.dtype), average, self.options["blend"])
