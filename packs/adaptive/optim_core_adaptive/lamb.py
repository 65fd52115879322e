"""LAMB."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, gain, lerp, maximum, minimum, norm, root, second_moment, sqrt, square, total, where


class LAMB(RuleOptimizer):
    """Adam whose step has, for each parameter tensor, the length of the tensor times lr.

    With mc = m / (1 - beta1^t) and vc = v / (1 - beta2^t)::

        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2
        u = mc / (sqrt(vc) + eps) + weight_decay p
        p = p - lr r u          r = ||p|| / ||u||, or 1 if either norm is 0

    Ports differ in what the authors' code settles: it corrects the averages and limits nothing. The paper's third
    version has no correction (bias_correction=False), cybertronai's port limits ||p|| to 10 (clamp_value=10), NVIDIA
    limits the norm of all gradients to 1 (max_grad_norm=1). For biases and normalisation layers, which the authors
    leave out of both, make a group with weight_decay=0 and adam=True.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([3.0, -4.0]))
        >>> loss = LAMB([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> round((w.detach() - torch.tensor([3.0, -4.0])).norm().item(), 3)
        0.5

    Source: You et al., Large Batch Optimization for Deep Learning: Training BERT in 76 minutes, 2019, Algorithm 2,
    https://arxiv.org/abs/1904.00962.
    """

    lr: float = hyper(1e-3, "step size, a share of each tensor's norm", ge=0, search=(1e-3, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of its square", ge=0, lt=1)
    eps: float = hyper(1e-6, "added to the root", ge=0)
    weight_decay: float = hyper(0.0, "decay, part of the direction whose norm counts", ge=0)
    bias_correction: bool = hyper(True, "correct the averages as Adam does")
    clamp_value: float | None = hyper(None, "largest norm of p in the ratio, None for any", gt=0)
    adam: bool = hyper(False, "ratio 1: Adam with its decay in the direction")
    max_grad_norm: float | None = hyper(None, "largest norm of all gradients together, None for any", gt=0, common=True)

    exp_avg = state("average of g")
    exp_avg_sq = state("average of g squared")

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
        bias_correction: bool,
        clamp_value: Value | None,
        adam: bool,
        max_grad_norm: Value | None,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        if max_grad_norm is not None:
            g = g / maximum(1.0, sqrt(total(square(g))) / max_grad_norm)
        exp_avg = lerp(g, exp_avg, beta1)
        exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
        if bias_correction:
            c2 = 1 - beta2**step
            u = exp_avg / (1 - beta1**step) / root(second_moment(exp_avg_sq, c2), eps, c2)
        else:
            u = exp_avg / root(second_moment(exp_avg_sq), eps)
        if weight_decay:
            u = u + weight_decay * p
        if adam:
            return p - lr * u, exp_avg, exp_avg_sq
        p_norm, u_norm = norm(p), norm(u)
        if clamp_value is not None:
            p_norm = minimum(p_norm, clamp_value)
        ratio = where((p_norm > 0) & (u_norm > 0), p_norm / u_norm, 1.0)
        return p - gain(lr * ratio, ratio) * u, exp_avg, exp_avg_sq
