"""ZClip."""

from __future__ import annotations

import math

from torch import Tensor

from optim_core.methods import hyper
from optim_core.optimizers import check_gradient, parameters
from optim_core.wrapping import Wrapper
from optim_core_wrappers.present_gradients import norm_of, refuse_accumulation


class ZClip(Wrapper):
    """Clips the norm of all gradients where it is an outlier among those of the steps before.

    With N that norm, and mean and var those of the norms so far::

        s = sqrt(var);  z = (N - mean) / s
        M = mean + z_thresh^2 s / z   where z > z_thresh, else N
        g = g M / N
        mean = alpha mean + (1 - alpha) M;   var = alpha var + (1 - alpha) (M - mean)^2

    So the farther out a norm is, the nearer to the mean it is brought. The first ``warmup_steps`` norms are not
    clipped, and make the first mean and variance. ``max_norm`` bounds what comes out of this, in all steps. A norm that
    is not finite is neither clipped nor counted: ``skip_nonfinite`` around this wrapper leaves such a step out.

    The norm is over all parameters of all groups, after GradScaler's unscaling, before the base's weight decay and
    before other changes of gradients, on whichever side of this wrapper they stand. ``p.grad`` stays as it is, unless
    the base differentiates it. The host waits for one number a step. The authors' code has max_norm = 1 unless told
    otherwise, and other rules for M besides.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.zeros(1))
        >>> optimizer = ZClip(torch.optim.SGD([weight], lr=1.0), warmup_steps=2)
        >>> for norm in (1.0, 3.0, 100.0):
        ...     _ = optimizer.minimize(lambda: norm * weight.sum())
        >>> round(weight.item(), 3)  # -1 - 3, and about the mean of both
        -6.064

    Source: Kumar et al., ZClip: Adaptive Spike Mitigation for LLM Pre-Training, 2025, Algorithm 1,
    https://arxiv.org/abs/2504.02507.
    """

    alpha: float = hyper(0.97, "decay of mean and variance", ge=0, lt=1)
    z_thresh: float = hyper(
        2.5, "deviations from the mean from which on a norm is clipped", gt=0, search=(2.0, 3.0), examples=[0.1]
    )
    max_norm: float | None = hyper(None, "largest norm of all gradients together, None for any", gt=0)
    warmup_steps: int = hyper(25, "norms that make the first mean and variance", ge=1, examples=[9])

    def on_wrap(self) -> None:
        """Count norms from here.

        Raises:
            WrapperConflict: what is inside steps once for several calls.
        """
        super().on_wrap()
        refuse_accumulation(self)
        self.counters.update(norms=0, mean=0.0, var=0.0)

    def apply(self) -> None:
        """A step of the base, with gradients whose norm is no outlier."""
        params = [p for p in parameters(self) if p.grad is not None]
        for p in params:
            check_gradient(p, self.method.name)
        own = [(p, p.grad) for p in params]
        norm = norm_of([g for _, g in own if g is not None])
        limit = self._counted(norm) if math.isfinite(norm) else norm
        if self.options["max_norm"] is not None:
            limit = min(limit, self.options["max_norm"])
        try:
            if limit < norm < math.inf:
                for p, g in own:
                    p.grad = _scaled(g, limit / norm)
            super().apply()
        finally:
            for p, g in own:
                p.grad = g

    def _counted(self, norm: float) -> float:
        """What a norm is to become; it counts as that."""
        count, mean, var = (self.counters[name] for name in ("norms", "mean", "var"))
        warm = count < self.options["warmup_steps"]
        limit = norm if warm else self._limit(norm, mean, math.sqrt(var))
        share = 1 / (count + 1) if warm else 1 - self.options["alpha"]  # the plain mean first
        moved = mean + share * (limit - mean)
        spread = (limit - mean) * (limit - moved) if warm else (limit - moved) ** 2
        self.counters.update(norms=count + 1, mean=moved, var=var + share * (spread - var))
        return limit

    def _limit(self, norm: float, mean: float, deviation: float) -> float:
        most = self.options["z_thresh"] * deviation
        return mean + most**2 / (norm - mean) if norm - mean > most else norm  # most^2 / (z s), without a division by 0


def _scaled(g: Tensor | None, factor: float) -> Tensor | None:
    """A gradient times a factor; one with a graph in its place, so that what differentiates it finds that."""
    if g is None:
        return None
    return g.mul_(factor) if g.requires_grad else g * factor
