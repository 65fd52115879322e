"""QHAdam."""

from __future__ import annotations

from typing import Any

from torch.optim.optimizer import ParamsT

from optim_core import RuleOptimizer, hyper, l2, state
from optim_core.rules import Value, lerp, root, second_moment, square


class QHAdam(RuleOptimizer):
    """Adam that mixes the averages with the gradient at hand: slow averages that still react at once.

    m and v are kept corrected, with ck = 1 - betak^t::

        m = m + (1 - beta1) / c1 (g - m)
        v = v + (1 - beta2) / c2 (g^2 - v)
        p = p - lr (nu1 m + (1 - nu1) g) / (sqrt(nu2 v + (1 - nu2) g^2) + eps)

    The default nus = (1, 1) make it Adam. The authors recommend nus=(0.7, 1.0) with betas=(0.995, 0.999) at Adam's lr.
    Where betas change in the course of a run (OneCycleLR does that), the authors' code, which carries the weights
    1 / (1 + beta + beta^2 + ...) along as states, corrects slightly otherwise.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = QHAdam([w], lr=0.1, nus=(0.7, 1.0)).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.9]

    Source: Ma and Yarats, Quasi-hyperbolic momentum and Adam for deep learning, 2018,
    https://arxiv.org/abs/1810.06801.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of its square", ge=0, lt=1)
    nus: tuple[float, float] = hyper((1.0, 1.0), "weights of the averages against g and its square", ge=0, le=1)
    eps: float = hyper(1e-8, "added to the root", ge=0)
    weight_decay: float = l2(0.0)
    decoupled_weight_decay: bool = hyper(False, "shrink p by 1 - lr*weight_decay instead of adding to g (QHAdamW)")

    exp_avg = state("average of g, corrected")
    exp_avg_sq = state("average of g squared, corrected")

    @classmethod
    def from_nadam(
        cls, params: ParamsT, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), **options: Any
    ) -> QHAdam:
        """Build it with nus = (beta1, 1), which is nearly NAdam: their bias corrections differ a little."""
        return cls(params, lr=lr, betas=betas, nus=(betas[0], 1.0), **options)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        nus: tuple[Value, Value],
        eps: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        (beta1, beta2), (nu1, nu2) = betas, nus
        exp_avg = lerp(exp_avg, g, (1 - beta1) / (1 - beta1**step))
        exp_avg_sq = lerp(exp_avg_sq, square(g), (1 - beta2) / (1 - beta2**step))
        d = lerp(g, exp_avg, nu1) / root(second_moment(lerp(square(g), exp_avg_sq, nu2)), eps)
        return p - lr * d, exp_avg, exp_avg_sq
