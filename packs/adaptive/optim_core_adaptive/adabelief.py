"""AdaBelief."""

from __future__ import annotations

from typing import Any

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core.rules import Value, lerp, maximum, root, second_moment, sqrt, square
from optim_core_adaptive.rectification import rectification, rectified_options


class AdaBelief(RuleOptimizer):
    """Adam that divides by how far gradients lie from their own average: long steps where they agree with it.

    With c1 = 1 - beta1^t and c2 = 1 - beta2^t::

        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) (g - m)^2 + eps
        p = p - lr (m / c1) / (sqrt(v / c2) + eps)                     rectify=False
        p = p - lr r (m / c1) sqrt(c2) / (sqrt(v) + eps)               rectify=True, r of RAdam, once there is one;
        p = p - lr m / c1                                              before that, with degenerated_to_sgd

    eps stays in v, as in the paper's Algorithm 2, and so acts like the square of Adam's. Defaults differ between
    libraries: older versions and ports have eps=1e-8, L2 and no rectification. The authors' code accepts amsgrad with
    rectify and then does not use the maximum; here the pair is refused.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = AdaBelief([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.8, -1.6]

    Source: Zhuang et al., AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed Gradients, 2020,
    Algorithm 2, https://arxiv.org/abs/2010.07468; rectification as in the authors' code.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of (g - m)^2", ge=0, lt=1)
    eps: float = hyper(1e-16, "added to v, where it stays, and to its root", ge=0)
    weight_decay: float = decoupled(0.0)
    decoupled_weight_decay: bool = hyper(True, "False: add weight_decay*p to g")
    fixed_decay: bool = hyper(False, "decoupled decay by weight_decay alone, without lr")
    amsgrad: bool = hyper(False, "divide by the largest v so far; needs rectify=False")
    rectify: bool = hyper(True, "rectify as RAdam does")
    degenerated_to_sgd: bool = hyper(True, "momentum steps while there is no rectification, instead of none")

    exp_avg = state("average of g")
    exp_avg_var = state("average of (g - exp_avg)^2")
    max_exp_avg_var = state("largest exp_avg_var so far", when="amsgrad")

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """Refuse amsgrad where it has no meaning; warn of betas without rectification."""
        return rectified_options(cls.__name__, options, given)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_var: Value,
        max_exp_avg_var: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        amsgrad: bool,
        rectify: bool,
        degenerated_to_sgd: bool,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        exp_avg = lerp(g, exp_avg, beta1)
        exp_avg_var = lerp(square(g - exp_avg), exp_avg_var, beta2) + eps
        if amsgrad:
            max_exp_avg_var = maximum(max_exp_avg_var, exp_avg_var)
        states = exp_avg, exp_avg_var, max_exp_avg_var
        lr, c2 = lr / (1 - beta1**step), 1 - beta2**step
        if not rectify:
            v = second_moment(max_exp_avg_var if amsgrad else exp_avg_var, c2)
            return p - lr * exp_avg / root(v, eps, c2), *states
        r = rectification(beta2, step)
        if r is not None:
            v = second_moment(exp_avg_var, c2)
            return p - lr * r * sqrt(c2) * exp_avg / root(v, eps, c2, outside=True), *states
        return (p - lr * exp_avg if degenerated_to_sgd else p), *states
