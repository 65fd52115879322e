"""AdaBound."""

from __future__ import annotations

import math
from typing import Any

from optim_core import RuleOptimizer, hyper, l2, state
from optim_core.errors import InvalidOption
from optim_core.rules import Value, clamp, lerp, maximum, root, sign, sqrt, square
from optim_core_adaptive.first_lr import with_first_lr


class AdaBound(RuleOptimizer):
    """Adam whose step sizes are kept between two bounds that close in on one value: from Adam to SGD with momentum.

    With c1 = 1 - beta1^t, c2 = 1 - beta2^t and f = final_lr lr / base_lr::

        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2              (amsbound: the root takes the largest v so far)
        eta = lr sqrt(c2)/c1 / (sqrt(v) + eps),  but between f (1 - 1/(gamma t + 1)) and f (1 + 1/(gamma t))
        p = p - eta m

    The bias correction is part of what is bounded; m itself is not corrected. final_lr follows a schedule through
    lr / base_lr, where base_lr is the lr that a group had when it was added (if that was 0, final_lr stays as it is).
    The authors' code keeps these rates in a list made at construction: there, groups added later never move, and a
    checkpoint forgets them. gamma = 0 leaves the step sizes unbounded.

    weight_decay is L2. The authors' AdaBoundW, which shrinks p by 1 - weight_decay without lr, is this with
    decoupled_weight_decay=True, fixed_decay=True; some ports decay by lr weight_decay unless told otherwise.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = AdaBound([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.9]

    Source: Luo, Xiong, Liu and Sun, Adaptive Gradient Methods with Dynamic Bound of Learning Rate, 2019, Algorithm 2,
    https://arxiv.org/abs/1902.09843; bounds and bias correction as in the authors' code.
    """

    lr: float = hyper(1e-3, "step size of the first phase", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of its square", ge=0, lt=1)
    final_lr: float = hyper(0.1, "step size that the bounds close in on", ge=0)
    gamma: float = hyper(1e-3, "speed at which they do, 0 for no bounds", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the uncorrected root", ge=0)
    weight_decay: float = l2(0.0)
    amsbound: bool = hyper(False, "divide by the root of the largest average square so far")
    decoupled_weight_decay: bool = hyper(False, "shrink p by 1 - lr*weight_decay instead of adding to g")
    fixed_decay: bool = hyper(False, "decoupled decay by weight_decay alone, without lr")
    base_lr: float | None = hyper(None, "lr for which final_lr is meant; None for the group's first", ge=0)

    exp_avg = state("average of g")
    exp_avg_sq = state("average of g squared")
    max_exp_avg_sq = state("largest exp_avg_sq so far", when="amsbound")

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """Remember the first lr; refuse fixed_decay where nothing is decoupled."""
        if options["fixed_decay"] and not options["decoupled_weight_decay"]:
            raise InvalidOption(
                f"{cls.__name__}: fixed_decay=True means nothing for L2: add decoupled_weight_decay=True"
            )
        return with_first_lr(options, given)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        max_exp_avg_sq: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        final_lr: Value,
        gamma: Value,
        eps: Value,
        amsbound: bool,
        base_lr: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        exp_avg = lerp(g, exp_avg, beta1)
        exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
        if amsbound:
            max_exp_avg_sq = maximum(max_exp_avg_sq, exp_avg_sq)
        v = max_exp_avg_sq if amsbound else exp_avg_sq
        f = final_lr * (lr / base_lr if base_lr else sign(lr))
        lower = f * (1 - 1 / (gamma * step + 1))
        upper = f * (1 + 1 / (gamma * step)) if gamma else math.inf
        c2 = 1 - beta2**step
        eta = clamp(lr * sqrt(c2) / (1 - beta1**step) / root(v, eps, c2, outside=True), lower, upper)
        return p - eta * exp_avg, exp_avg, exp_avg_sq, max_exp_avg_sq
