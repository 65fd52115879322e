"""PAdam."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, l2, state
from optim_core.rules import Value, denominator, lerp, maximum, sqrt, square


class PAdam(RuleOptimizer):
    """Adam whose denominator is raised to a power, half of it by default: between Adam and SGD with momentum.

    With c1 = 1 - beta1^t and c2 = 1 - beta2^t::

        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2          (amsgrad: the denominator takes the largest v so far)
        p = p - lr sqrt(c2) / c1 m / (sqrt(v) + eps)^(2 partial)

    partial = 1/2 is AMSGrad, or Adam; towards 0 it is SGD, whose size lr then has. The paper corrects nothing. The
    authors' code corrects v by the full root, whatever the power, so with small partial the first steps are short:
    c2^(1/2 - partial), 0.18 in step 1 by default. eps is inside the power: with partial = 1/8 an element without
    gradients has the denominator 0.01. Ports leave out amsgrad, which the paper and its authors have on.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = PAdam([w], lr=0.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(50)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Chen et al., Closing the Generalization Gap of Adaptive Gradient Methods in Training Deep Neural Networks,
    2018, Algorithm 1, https://arxiv.org/abs/1806.06763; bias correction as in the authors' code.
    """

    lr: float = hyper(0.1, "step size", ge=0, search=(1e-3, 1.0))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of its square", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the uncorrected root, inside the power", ge=0)
    weight_decay: float = l2(0.0)
    decoupled_weight_decay: bool = hyper(False, "shrink p by 1 - lr*weight_decay instead of adding to g")
    amsgrad: bool = hyper(True, "divide by the largest average square so far")
    partial: float = hyper(0.25, "power of the average square; 0.5 for Adam", gt=0, le=0.5)

    exp_avg = state("average of g")
    exp_avg_sq = state("average of g squared")
    max_exp_avg_sq = state("largest exp_avg_sq so far", when="amsgrad")

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
        eps: Value,
        amsgrad: bool,
        partial: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        exp_avg = lerp(g, exp_avg, beta1)
        exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
        if amsgrad:
            max_exp_avg_sq = maximum(max_exp_avg_sq, exp_avg_sq)
        root = sqrt(max_exp_avg_sq if amsgrad else exp_avg_sq)
        d = denominator((root + eps) ** (2 * partial), bare=root ** (2 * partial))
        p = p - lr * sqrt(1 - beta2**step) / (1 - beta1**step) * exp_avg / d
        return p, exp_avg, exp_avg_sq, max_exp_avg_sq
