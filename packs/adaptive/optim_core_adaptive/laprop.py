"""LaProp."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, lerp, maximum, root, second_moment, square


class LaProp(RuleOptimizer):
    """Adam with the order turned round: first the gradient is divided by the root, then averaged.

    So no beta2 makes it unstable. With c2 = 1 - beta2^t::

        v = beta2 v + (1 - beta2) g^2
        V = v    centered: v - a^2 after steps_before_using_centered steps, a the average of g, of beta2
                 amsgrad: the largest V so far
        m = beta1 m + (1 - beta1) lr g / (sqrt(V / c2) + eps)
        L = beta1 L + (1 - beta1) lr
        p = p - m lr / L
        p = p (1 - weight_decay)        fixed_decay; otherwise p (1 - lr weight_decay), or L2 if not decoupled

    **The decay is without lr**, as in the authors' code: weight_decay = 0.01 takes a hundredth off in each step, and
    has to fall with lr. timm and pytorch-optimizer multiply by lr, as AdamW does: fixed_decay=False. lr stands in the
    average, so old gradients keep the lr that they came with; with lr = 0 nothing moves (in the authors' code m goes
    on). eps is so small that rounding noise in an element without gradients moves it: take more in float32.

    Where a centred V is below 0 by rounding it counts as 0, which their code makes NaN.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = LaProp([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.9]

    Source: Ziyin, Wang and Ueda, LaProp: Separating Momentum and Adaptivity in Adam, 2020, Algorithm 1,
    https://arxiv.org/abs/2002.04839; centered, decay and lr in the average as in the authors' code.
    """

    lr: float = hyper(4e-4, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of steps and of g squared", ge=0, lt=1)
    eps: float = hyper(1e-15, "added to the root", ge=0)
    weight_decay: float = hyper(0.0, "decay after the step, without lr unless fixed_decay=False; or L2", ge=0)
    decoupled_weight_decay: bool = hyper(True, "False: add weight_decay*p to g")
    fixed_decay: bool = hyper(True, "decay by weight_decay alone, without lr")
    amsgrad: bool = hyper(False, "divide by the root of the largest V so far")
    centered: bool = hyper(False, "take the squared average of g off v")
    steps_before_using_centered: int = hyper(10, "steps before that", ge=0)

    exp_avg = state("average of steps")
    exp_avg_sq = state("average of g squared")
    exp_mean_avg_beta2 = state("average of g, of beta2", when="centered")
    max_exp_avg_sq = state("largest V so far", when="amsgrad")
    exp_avg_lr_1 = state("average of lr", level="tensor")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        exp_mean_avg_beta2: Value,
        max_exp_avg_sq: Value,
        exp_avg_lr_1: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        weight_decay: Value,
        decoupled_weight_decay: bool,
        fixed_decay: bool,
        amsgrad: bool,
        centered: bool,
        steps_before_using_centered: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        if weight_decay and not decoupled_weight_decay:
            g = g + weight_decay * p
        exp_avg_sq = V = lerp(square(g), exp_avg_sq, beta2)
        if centered:
            exp_mean_avg_beta2 = lerp(g, exp_mean_avg_beta2, beta2)
        subtracts = centered and step > steps_before_using_centered
        if subtracts:
            V = maximum(V - square(exp_mean_avg_beta2), 0.0)
        if amsgrad and (subtracts or not centered):
            V = max_exp_avg_sq = maximum(max_exp_avg_sq, V)
        c2 = 1 - beta2**step
        exp_avg = lerp(lr * g / root(second_moment(V, c2), eps, c2), exp_avg, beta1)
        exp_avg_lr_1 = lerp(lr, exp_avg_lr_1, beta1)
        if lr:
            p = p - exp_avg * (lr / exp_avg_lr_1)
            if weight_decay and decoupled_weight_decay:
                p = p * (1 - weight_decay * (1.0 if fixed_decay else lr))
        return p, exp_avg, exp_avg_sq, exp_mean_avg_beta2, max_exp_avg_sq, exp_avg_lr_1
