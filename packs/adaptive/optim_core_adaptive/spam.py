"""SPAM."""

from __future__ import annotations

import math
from typing import Any

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, cos, lerp, root, second_moment, sign, sqrt, square, where


class SPAM(RuleOptimizer):
    """Adam against loss spikes: it clips what is far beyond its second moment, and forgets its moments at intervals.

    n counts the optimizer's steps, t those of the parameter, w those since the moments were last forgotten::

        m = v = 0                                       where n is a multiple of delta_t
        g = sign(g) sqrt(threshold v)                   where g^2 > threshold v, v being that of the last step
        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2
        f = 1 - 0.99 (1 + cos(pi w / (warmup_steps + 1))) / 2      for warmup_steps after that, otherwise 1
        p = p - lr f sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps)
        p = p (1 - lr weight_decay)

    Nothing is clipped in the first grad_accu_steps steps, at the start and after the moments were forgotten. An element
    that gets its first gradient later than that is clipped to 0 until they are forgotten again: that is the trap of
    embeddings. Bias correction goes on as if they had not been forgotten; the 0.01 of f hides that the first steps
    after it are too long.

    The authors' code can also train a random part of the elements (density), which is not here; its decay of that
    part does nothing. delta_t = 0 or threshold = 0 switch off forgetting and clipping. pytorch-optimizer is one step
    ahead in f.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = SPAM([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.9]

    Source: Huang et al., SPAM: Spike-Aware Adam with Momentum Reset for Stable LLM Training, 2025, Algorithm 1,
    https://arxiv.org/abs/2501.06842; counts and warm-up as in the authors' code.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of its square", ge=0, lt=1)
    eps: float = hyper(1e-6, "added to the root", ge=0)
    weight_decay: float = hyper(0.0, "decoupled decay after the step, times lr", ge=0)
    correct_bias: bool = hyper(True, "correct the averages as Adam does")
    warmup_steps: int = hyper(150, "steps of the warm-up after the moments were forgotten", ge=0)
    threshold: float = hyper(5000.0, "largest square of g over v, 0 for any", ge=0)
    delta_t: int = hyper(500, "steps after which the moments are forgotten, 0 for never", ge=0)
    grad_accu_steps: int = hyper(20, "steps without clipping before that", ge=0)

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
        correct_bias: bool,
        warmup_steps: Value,
        threshold: Value,
        delta_t: Value,
        grad_accu_steps: Value,
        step: Value,
        whole_step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        since = whole_step % delta_t if delta_t else whole_step
        forgotten = delta_t and whole_step >= delta_t
        if forgotten and since < 1:
            exp_avg, exp_avg_sq = 0 * exp_avg, 0 * exp_avg_sq
        if threshold and since >= grad_accu_steps and whole_step >= grad_accu_steps:
            largest = threshold * exp_avg_sq
            g = where(square(g) > largest, sign(g) * sqrt(largest), g)
        exp_avg = lerp(g, exp_avg, beta1)
        exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
        c2: Any = 1 - beta2**step if correct_bias else None
        f: Any = sqrt(c2) / (1 - beta1**step) if correct_bias else 1.0
        if forgotten and since < warmup_steps:
            f = f * (1 - 0.99 * (1 + cos(math.pi * since / (warmup_steps + 1))) / 2)
        p = p - lr * f * exp_avg / root(second_moment(exp_avg_sq, c2), eps, c2, outside=True)
        return p * (1 - lr * weight_decay), exp_avg, exp_avg_sq
