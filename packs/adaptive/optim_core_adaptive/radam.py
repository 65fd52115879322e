"""RAdam."""

from __future__ import annotations

from typing import Any

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, lerp, root, second_moment, sqrt, square
from optim_core_adaptive.rectification import rectification, warn_if_never_rectified


class RAdam(RuleOptimizer):
    """Adam whose step is scaled down while the average square rests on few gradients.

    With c1 = 1 - beta1^t, c2 = 1 - beta2^t, rho = R - 2 t beta2^t / c2 and R = 2 / (1 - beta2) - 1::

        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2
        rho >= 5:  r = sqrt( (rho-4)/(R-4) (rho-2)/(R-2) R/rho )
                   p = p (1 - lr weight_decay) - lr r (m / c1) sqrt(c2) / (sqrt(v) + eps)
        otherwise: p stands still; with degenerated_to_sgd  p = p (1 - lr weight_decay) - lr m / c1

    With the default betas rho reaches 5 in step 6. ``torch.optim.RAdam`` always takes the momentum steps before that;
    the authors' code, and the default here, does not, and then does not decay either.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = RAdam([w], lr=0.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(8)]
        >>> losses[5] == 5.0 > losses[6] > losses[7]
        True

    Source: Liu et al., On the Variance of the Adaptive Learning Rate and Beyond, 2019, Algorithm 2,
    https://arxiv.org/abs/1908.03265; threshold and skipped steps as in the authors' code.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of its square", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the uncorrected root", ge=0)
    weight_decay: float = hyper(0.0, "decay of p in the steps that move it, times lr; or L2", ge=0)
    decoupled_weight_decay: bool = hyper(True, "False: add weight_decay*p to g")
    degenerated_to_sgd: bool = hyper(False, "momentum steps while there is no rectification, instead of none")

    exp_avg = state("average of g")
    exp_avg_sq = state("average of g squared")

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """Warn of betas with which nothing would ever move."""
        if "betas" in given and not options["degenerated_to_sgd"]:
            warn_if_never_rectified(
                cls.__name__, options["betas"], "without degenerated_to_sgd=True nothing ever moves"
            )
        return options

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        weight_decay: Value,
        decoupled_weight_decay: bool,
        degenerated_to_sgd: bool,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        if weight_decay and not decoupled_weight_decay:
            g = g + weight_decay * p
        exp_avg = lerp(g, exp_avg, beta1)
        exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
        r = rectification(beta2, step)
        if r is None and not degenerated_to_sgd:
            return p, exp_avg, exp_avg_sq
        if weight_decay and decoupled_weight_decay:
            p = p * (1 - lr * weight_decay)
        lr = lr / (1 - beta1**step)
        if r is None:
            return p - lr * exp_avg, exp_avg, exp_avg_sq
        c2 = 1 - beta2**step
        v = second_moment(exp_avg_sq, c2)
        return p - lr * r * sqrt(c2) * exp_avg / root(v, eps, c2, outside=True), exp_avg, exp_avg_sq
