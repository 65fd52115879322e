"""NovoGrad."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, dot, gain, lerp, maximum, root, second_moment, where


class NovoGrad(RuleOptimizer):
    """Momentum on gradients that are normalised tensor by tensor: Adam's idea with one second moment a layer.

    ::

        v = beta2 v + (1 - beta2) ||g||^2               (v = ||g||^2 while v is 0)
        m = beta1 m + g / (sqrt(v) + eps) + weight_decay p          grad_averaging: (1 - beta1) times the new terms
        p = p - lr m                                    (amsgrad: the largest v so far in the place of v)

    Decay is added to the normalised gradient, as in the paper; decoupled_weight_decay shrinks p by 1 - lr weight_decay
    before the step instead. There is no bias correction, and m is a sum: lr / (1 - beta1) is the length of a tensor's
    steps in the end, a single number's too. NVIDIA's TensorFlow code has eps inside the root. With grad_averaging the
    paper does not scale the first gradient; NVIDIA's PyTorch code does, and so it is here. One widely linked port lets
    the first gradient in twice and corrects the averages as Adam does.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([3.0, -4.0]))
        >>> loss = NovoGrad([w], lr=0.5).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [2.7, -3.6]

    Source: Ginsburg et al., Stochastic Gradient Methods with Layer-wise Adaptive Moments for Training of Deep Networks,
    2019, Algorithm 1, https://arxiv.org/abs/1905.11286.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-3, 1e-1))
    betas: tuple[float, float] = hyper((0.95, 0.98), "decay of m and of v", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root", ge=0)
    weight_decay: float = hyper(0.0, "decay, added to the normalised gradient; or decoupled", ge=0)
    grad_averaging: bool = hyper(False, "weigh what enters m by 1 - beta1")
    amsgrad: bool = hyper(False, "divide by the root of the largest v so far")
    decoupled_weight_decay: bool = hyper(False, "shrink p by 1 - lr*weight_decay instead")

    exp_avg = state("decayed sum of normalised gradients")
    exp_avg_sq = state("average of the squared norm", level="tensor")
    max_exp_avg_sq = state("largest exp_avg_sq so far", level="tensor", when="amsgrad")

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
        weight_decay: Value,
        grad_averaging: bool,
        amsgrad: bool,
        decoupled_weight_decay: bool,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        norm_sq = dot(g, g)
        exp_avg_sq = where(exp_avg_sq == 0, norm_sq, lerp(norm_sq, exp_avg_sq, beta2))
        if amsgrad:
            max_exp_avg_sq = maximum(max_exp_avg_sq, exp_avg_sq)
        x = g / root(second_moment(max_exp_avg_sq if amsgrad else exp_avg_sq), eps)
        if weight_decay and decoupled_weight_decay:
            p = p * (1 - lr * weight_decay)
        elif weight_decay:
            x = x + weight_decay * p
        exp_avg = beta1 * exp_avg + ((1 - beta1) * x if grad_averaging else gain(x, 1 / (1 - beta1)))
        return p - lr * exp_avg, exp_avg, exp_avg_sq, max_exp_avg_sq
