"""Adam."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, l2, state
from optim_core.rules import Value, lerp, maximum, root, second_moment, square


class Adam(RuleOptimizer):
    """Steps along the average gradient, each element divided by the root of its average square.

    With c1 = 1 - beta1^t and c2 = 1 - beta2^t::

        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2          (amsgrad: the denominator takes the largest v so far)
        p = p - lr (m / c1) / (sqrt(v / c2) + eps)

    eps stands outside the bias correction, as in torch. The paper's short form has it inside, where it weighs
    1/sqrt(c2) times as much: 32 times in step 1. amsgrad takes the maximum of the uncorrected v, as torch does; optax
    takes that of the corrected one, and the paper of AMSGrad corrects nothing.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = Adam([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.9]

    Source: Kingma and Ba, Adam: A Method for Stochastic Optimization, 2014, Algorithm 1,
    https://arxiv.org/abs/1412.6980.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of its square", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root", ge=0)
    weight_decay: float = l2(0.0)
    amsgrad: bool = hyper(False, "divide by the largest average square so far")
    decoupled_weight_decay: bool = hyper(False, "shrink p by 1 - lr*weight_decay instead of adding to g (AdamW)")

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
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        exp_avg = lerp(g, exp_avg, beta1)
        exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
        if amsgrad:
            max_exp_avg_sq = maximum(max_exp_avg_sq, exp_avg_sq)
        c2 = 1 - beta2**step
        v = second_moment(max_exp_avg_sq if amsgrad else exp_avg_sq, c2)
        p = p - lr / (1 - beta1**step) * exp_avg / root(v, eps, c2)
        return p, exp_avg, exp_avg_sq, max_exp_avg_sq
