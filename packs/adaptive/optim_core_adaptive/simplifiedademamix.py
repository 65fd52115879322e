"""Simplified AdEMAMix."""

from __future__ import annotations

import math

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, gain, lerp, log, root, second_moment, sqrt, square, where


class SimplifiedAdEMAMix(RuleOptimizer):
    """Adam with momentum that sums gradients instead of averaging them, and the present gradient beside it.

    With b = beta1, or growing to it from min_beta1 over the first beta1_warmup steps, evenly in half-lives::

        m = b m + g
        v = beta2 v + (1 - beta2) g^2
        u = (m + alpha g) / (sqrt(v / (1 - beta2^t)) + eps)
        p = p - lr (u + weight_decay p)

    The sum grows to g / (1 - beta1): lr is about 1 - beta1 times Adam's. bias_correction1 divides u by what the weights
    of m add up to, which makes it an average; without bias_correction2 u is 1 / sqrt(1 - beta2^t) times as long.
    Where batches are small alpha should be large: about 100 for 32 000 tokens a batch, 0.05 for a million.

    pytorch-optimizer averages m, and divides by the root of the bias correction where the authors multiply by it.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = SimplifiedAdEMAMix([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.9]

    Source: Morwani et al., Connections between Schedule-Free Optimizers, AdEMAMix, and Accelerated SGD Variants, 2025,
    Algorithm 1, https://arxiv.org/abs/2502.02431; bias corrections as in the authors' code.
    """

    lr: float = hyper(1e-4, "step size", ge=0, search=(1e-5, 1e-2))
    betas: tuple[float, float] = hyper((0.99, 0.95), "decay of the sum of g; of the average of g squared", ge=0, lt=1)
    alpha: float = hyper(0.0, "weight of the present gradient beside the sum", ge=0)
    beta1_warmup: int | None = hyper(None, "steps in which beta1 grows, None for none", ge=1)
    min_beta1: float = hyper(0.9, "beta1 at first, with beta1_warmup", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root", ge=0)
    weight_decay: float = hyper(0.0, "decoupled decay, times lr; or L2", ge=0)
    decoupled_weight_decay: bool = hyper(True, "False: add weight_decay*p to g")
    bias_correction1: bool = hyper(False, "divide by the sum of the weights of m")
    bias_correction2: bool = hyper(True, "correct the average of g squared")

    exp_avg = state("decayed sum of g")
    exp_avg_sq = state("average of g squared")
    num_sum = state("sum of the weights of exp_avg", level="tensor")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        num_sum: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        alpha: Value,
        beta1_warmup: Value | None,
        min_beta1: Value,
        eps: Value,
        weight_decay: Value,
        decoupled_weight_decay: bool,
        bias_correction1: bool,
        bias_correction2: bool,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        if beta1_warmup is not None:
            half_life = lerp(_half_life(min_beta1), _half_life(beta1), step / beta1_warmup)
            beta1 = where(step < beta1_warmup, 0.5 ** (1 / (half_life + 1)), beta1)
        if weight_decay and not decoupled_weight_decay:
            g = g + weight_decay * p
        exp_avg, num_sum = beta1 * exp_avg + g, beta1 * num_sum + 1
        exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
        c2 = 1 - beta2**step
        u = gain(exp_avg + alpha * g, 1 / (1 - beta1) + alpha) / root(second_moment(exp_avg_sq, c2), eps, c2)
        if bias_correction1:
            u = gain(u / num_sum, 1 / num_sum)
        if not bias_correction2:
            u = u / sqrt(c2)
        if weight_decay and decoupled_weight_decay:
            u = u + weight_decay * p
        return p - lr * u, exp_avg, exp_avg_sq, num_sum


def _half_life(beta: Value) -> Value:
    return math.log(0.5) / log(beta + 1e-8) - 1
