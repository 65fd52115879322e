"""ACProp."""

from __future__ import annotations

from typing import Any

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core.rules import Value, lerp, maximum, root, second_moment, sqrt, square
from optim_core_adaptive.rectification import rectification, rectified_options


class ACProp(RuleOptimizer):
    """AdaBelief that divides the present gradient by the spread of those before it.

    s is what the step before has left of the spread, c1 = 1 - beta1^t, c2 = 1 - beta2^(t-1)::

        m = beta1 m + (1 - beta1) g
        s = s + eps                                                    from step 2 on; it stays in s
        p = p - lr g / (sqrt(s / c2) + eps)                            rectify=False
        p = p - lr r g sqrt(1 - beta2^t) / (sqrt(s) + eps)             rectify=True, r of RAdam, once there is one
        p = p - lr m / c1                                              in step 1; before there is an r, with
                                                                       degenerated_to_sgd
        s = beta2 s + (1 - beta2) (g - m)^2

    momentum_update puts m / c1 in the place of g, amsgrad the largest s so far in that of s. The paper's method is
    rectify=False; the default of the authors' code is not, and accepts amsgrad there without effect: here the pair is
    refused. The denominator does not know g, so nothing bounds a step: clip gradients, or choose a larger eps. In
    half-precision 1e-16 vanishes: take 1e-8. optax's acprop takes the average before this step for the spread, and so
    follows another trajectory.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = ACProp([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.8, -1.6]

    Source: Zhuang et al., Momentum Centering and Asynchronous Update for Adaptive Gradient Methods, 2021, Algorithm 2,
    https://arxiv.org/abs/2110.05454; rectification and first steps as in the authors' code.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of (g - m)^2", ge=0, lt=1)
    eps: float = hyper(1e-16, "added to s, where it stays, and to its root", ge=0)
    weight_decay: float = decoupled(0.0)
    decoupled_weight_decay: bool = hyper(True, "False: add weight_decay*p to g")
    fixed_decay: bool = hyper(False, "decoupled decay by weight_decay alone, without lr")
    amsgrad: bool = hyper(False, "divide by the largest s so far; needs rectify=False")
    rectify: bool = hyper(True, "rectify as RAdam does")
    degenerated_to_sgd: bool = hyper(True, "momentum steps while there is no rectification, instead of none")
    momentum_update: bool = hyper(False, "step along the average gradient instead of the present one")

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
        momentum_update: bool,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        exp_avg = lerp(g, exp_avg, beta1)
        corrected = exp_avg / (1 - beta1**step)
        s = exp_avg_var + eps if amsgrad or step > 1 else exp_avg_var
        if amsgrad:
            max_exp_avg_var = maximum(max_exp_avg_var, s)
        states = exp_avg, lerp(square(g - exp_avg), s, beta2), max_exp_avg_var
        if step == 1:
            return p - lr * corrected, *states
        n = corrected if momentum_update else g
        if not rectify:
            c2 = 1 - beta2 ** (step - 1)
            v = second_moment(max_exp_avg_var if amsgrad else s, c2)
            return p - lr * n / root(v, eps, c2), *states
        r = rectification(beta2, step)
        if r is None:
            return (p - lr * corrected if degenerated_to_sgd else p), *states
        c2 = 1 - beta2**step
        return p - lr * r * sqrt(c2) * n / root(second_moment(s, c2), eps, c2, outside=True), *states
