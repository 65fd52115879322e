"""diffGrad."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, l2, state
from optim_core.rules import Value, gain, lerp, root, second_moment, sigmoid, sqrt, square


class DiffGrad(RuleOptimizer):
    """Adam that brakes where the gradient hardly changes: by half if not at all, not where it changes a lot.

    h is the gradient of the step before (0 in the first step), c1 = 1 - beta1^t, c2 = 1 - beta2^t::

        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2
        x = 1 / (1 + exp(-|h - g|))                     between 1/2 and 1
        p = p - lr sqrt(c2)/c1 x m / (sqrt(v) + eps)

    eps is added to the uncorrected root. The authors' first file kept a reference to the gradient instead of a copy,
    so that in some training loops x was 1/2 throughout; this is their second one. Some ports decay decoupled by
    default; here weight_decay is L2, and what is remembered as h has it in it.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = DiffGrad([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.912, -1.902]

    Source: Dubey et al., diffGrad: An Optimization Method for Convolutional Neural Networks, 2019,
    https://arxiv.org/abs/1909.11015; the copy of g as in the authors' second file.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of its square", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the uncorrected root", ge=0)
    weight_decay: float = l2(0.0)

    exp_avg = state("average of g")
    exp_avg_sq = state("average of g squared")
    previous_grad = state("g of the step before")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        previous_grad: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        exp_avg = lerp(g, exp_avg, beta1)
        exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
        x = gain(sigmoid(abs(previous_grad - g)), 0.5)
        c2 = 1 - beta2**step
        step_size = lr * sqrt(c2) / (1 - beta1**step)
        v = second_moment(exp_avg_sq, c2)
        return p - step_size * x * exp_avg / root(v, eps, c2, outside=True), exp_avg, exp_avg_sq, g
