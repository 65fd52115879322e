"""ADana."""

from __future__ import annotations

from typing import Any

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, gain, lerp, maximum, minimum, root, second_moment, sign, sqrt, square
from optim_core_adaptive.first_lr import with_first_lr


class ADana(RuleOptimizer):
    """Adam with averages whose memory grows with the step count, and a momentum term that grows as a power of it.

    With a = delta / (delta + t), one decay for both averages, and lr0 the lr that the group had when it was added::

        m = (1 - a) m + a g
        v = (1 - a) v + a g^2
        q = sqrt(v) + eps
        f = (1 + t)^(1 - kappa) |m| / q                              at most clipsnr
        p = p - lr (g / q + gamma_3_factor (sign(m) f + m / q))
        p = p (1 - weight_decay lr / lr0)                            wd_decaying: that decay / (1 + t / wd_ts)

    The published formula has m once, with the power as its weight; the code, which is followed here, adds m / q. With
    tau, an average of |g| / (|g| + q) estimates how often an element has a gradient at all, and steps are scaled by it
    (Dana-Star): with T that average, c = min(T, 1/2), r = max(c / (1 - c), 1 / (1 + t)) and N = sqrt(r) / q::

        f = max(T t, 1)^(1 - kappa) |m| N / r                        at most clipsnr
        p = p - lr (g N + gamma_3_factor sign(m) (r f + |m| N))

    clipsnr=2 makes Dana-MK4, and Dana-Star-MK4. The authors' runs have kappa = 0.85, lr about Adam's or a third of it
    (their code's default is 1) with a warm-up, as the first step is three times lr, and weight_decay = 4 / wd_ts with
    wd_ts a tenth of the run. They take the constructor's lr for lr0 in all groups, and divide by 0 if that is 0; here
    the decay is weight_decay then.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = ADana([w], lr=0.01, kappa=0.85).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.97, -1.97]

    Source: Logarithmic-time Schedules for Scaling Language Models with Momentum, 2026,
    https://arxiv.org/abs/2602.05298; in the form of the authors' code.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    delta: float = hyper(8.0, "time scale of the averages", gt=0)
    kappa: float = hyper(1.0, "damping of the momentum term: it grows as t^(1 - kappa)", ge=0)
    eps: float = hyper(1e-8, "added to the root", gt=0)
    clipsnr: float | None = hyper(None, "largest growing factor f; None for any", gt=0)
    weight_decay: float = hyper(0.0, "decoupled decay after the step, times lr/base_lr", ge=0)
    wd_decaying: bool = hyper(False, "let the decay fall as 1/(1 + t/wd_ts)")
    wd_ts: float = hyper(1.0, "steps after which it is half", gt=0)
    gamma_3_factor: float = hyper(1.0, "weight of the momentum part", ge=0)
    tau: bool = hyper(False, "scale by how often an element has a gradient")
    base_lr: float | None = hyper(None, "lr for which weight_decay is meant; None for the group's first", ge=0)

    exp_avg = state("average of g")
    exp_avg_sq = state("average of g squared")
    presence = state("T, how often an element has a gradient", when="tau")

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """Remember the first lr."""
        return with_first_lr(options, given)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        presence: Value,
        *,
        lr: Value,
        delta: Value,
        kappa: Value,
        eps: Value,
        clipsnr: Value | None,
        weight_decay: Value,
        wd_decaying: bool,
        wd_ts: Value,
        gamma_3_factor: Value,
        tau: bool,
        base_lr: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        keep = step / (delta + step)
        exp_avg = lerp(g, exp_avg, keep)
        exp_avg_sq = lerp(square(g), exp_avg_sq, keep)
        q = root(second_moment(exp_avg_sq), eps)
        N, age = 1 / q, 1 + step
        r: Any = 1.0
        if tau:
            presence = lerp(abs(g) / (abs(g) + q), presence, keep)
            c = minimum(presence, 0.5)
            r, age = maximum(c / (1 - c), 1 / (1 + step)), maximum(presence * step, 1.0)
            N = sqrt(r) / q
        grown = age ** (1 - kappa)
        f = grown * abs(exp_avg) * N / r
        if clipsnr is not None:
            f, grown = minimum(f, clipsnr), minimum(grown, clipsnr)
        u = g * N + gamma_3_factor * sign(exp_avg) * (r * f + abs(exp_avg) * N)
        p = p - lr * gain(u, 1 + gamma_3_factor * (grown + 1))
        if weight_decay:
            shrink = weight_decay * lr / base_lr if base_lr else weight_decay
            p = p * (1 - (shrink / (1 + step / wd_ts) if wd_decaying else shrink))
        return p, exp_avg, exp_avg_sq, presence
