"""What wrappers are put around when they are checked."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from optim_core.methods.declarations import decoupled, hyper, state
from optim_core.optimizers.optimizer import RuleOptimizer
from optim_core.rules import Value, lerp, root, second_moment


class Adaptive(RuleOptimizer):
    """A rule that names all that wrappers act on, as a base for them: Adam's."""

    lr: float = hyper(0.05, "step size", ge=0)
    betas: tuple[float, float] = hyper((0.9, 0.99), "decays of the averages", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the denominator", ge=0)
    weight_decay: float = decoupled(0.0)

    exp_avg = state("average of g")
    exp_avg_sq = state("average of g**2")

    @staticmethod
    def rule(
        p: Value, g: Value, exp_avg: Value, exp_avg_sq: Value, *, lr: Value, betas: tuple[Value, Value], eps: Value,
        step: Value,
    ) -> tuple[Value, ...]:  # fmt: skip
        """Kingma & Ba, 2015."""
        m, v = lerp(g, exp_avg, betas[0]), lerp(g * g, exp_avg_sq, betas[1])
        c1, c2 = 1 - betas[0] ** step, 1 - betas[1] ** step
        return p - lr / c1 * m / root(second_moment(v, c2), eps, c2), m, v


#: What wrappers are put around: torch's own, in which nothing can be composed, and a rule, which may decay.
BASES: tuple[Any, ...] = (
    partial(torch.optim.SGD, momentum=0.9),
    torch.optim.Adam,
    Adaptive,
    partial(Adaptive, weight_decay=0.1),
)
