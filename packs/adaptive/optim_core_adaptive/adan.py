"""Adan."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, lerp, minimum, root, second_moment, sqrt, square, total


class Adan(RuleOptimizer):
    """Adam with Nesterov momentum, written with the difference of successive gradients.

    h is the gradient of the step before (g itself in the first step), ck = 1 - betak^t::

        y = g - h
        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) y
        n = beta3 n + (1 - beta3) (g + beta2 y)^2
        s = lr (m / c1 + beta2 v / c2) / (sqrt(n / c3) + eps)
        p = (p - s) / (1 + lr weight_decay);     no_prox:  p = p (1 - lr weight_decay) - s

    The betas are 1 - those printed in the paper. max_grad_norm scales the gradients of all groups together, before
    they are remembered. A parameter that joins late has its own step count; the authors' code corrects it by its
    group's.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = Adan([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.9]

    Source: Xie et al., Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep Models, 2022,
    Algorithm 1, https://arxiv.org/abs/2208.06677; bias corrections and clipping as in the authors' code.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float, float] = hyper((0.98, 0.92, 0.99), "decay of the averages m, v and n", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root", ge=0)
    weight_decay: float = hyper(0.0, "proximal decay, times lr", ge=0)
    max_grad_norm: float = hyper(0.0, "largest norm of all gradients together, 0 for any", ge=0, common=True)
    no_prox: bool = hyper(False, "decay as AdamW does, before the step")

    exp_avg = state("average of g")
    exp_avg_diff = state("average of g - previous_grad")
    exp_avg_sq = state("average of the squared look-ahead gradient")
    previous_grad = state("g of the step before")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_diff: Value,
        exp_avg_sq: Value,
        previous_grad: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value, Value],
        eps: Value,
        weight_decay: Value,
        max_grad_norm: Value,
        no_prox: bool,
        first: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2, beta3 = betas
        if max_grad_norm:
            g = g * minimum(1.0, max_grad_norm / (sqrt(total(square(g))) + eps))
        y = g - (g if first else previous_grad)
        exp_avg = lerp(g, exp_avg, beta1)
        exp_avg_diff = lerp(y, exp_avg_diff, beta2)
        exp_avg_sq = lerp(square(g + beta2 * y), exp_avg_sq, beta3)
        c3 = 1 - beta3**step
        denom = root(second_moment(exp_avg_sq, c3), eps, c3)
        s = lr * (exp_avg / (1 - beta1**step) + beta2 / (1 - beta2**step) * exp_avg_diff) / denom
        p = p * (1 - lr * weight_decay) - s if no_prox else (p - s) / (1 + lr * weight_decay)
        return p, exp_avg, exp_avg_diff, exp_avg_sq, g
