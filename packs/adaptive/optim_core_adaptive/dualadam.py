"""DualAdam."""

from __future__ import annotations

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core.rules import Value, lerp, maximum, root, second_moment, square


class DualAdam(RuleOptimizer):
    """Adam that begins as its inverse, which multiplies by the root instead of dividing by it.

    With c1 = 1 - beta1^t, c2 = 1 - beta2^t and a = max(0, 1 - t switch_rate)::

        p = p (1 - lr weight_decay)
        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2
        d = sqrt(v / c2) + eps
        p = p - lr (m / c1) ((1 - a) / d + a d)

    Once a is below switch_rate it counts as 0, as in the authors' code: at most one step differs from the paper. The
    inverse has steps of lr g^2 at first: tiny for small gradients, and without bound for large ones, which want
    clipping. By default it lasts 100 steps. The authors count them for the optimizer and forget them with a
    checkpoint; here each parameter's own step count serves.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = DualAdam([w], lr=0.1, switch_rate=0.5).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.75, -1.15]

    Source: Combining Adam and its Inverse Counterpart to Enhance Generalization of Deep Learning Optimizers, 2026,
    https://arxiv.org/abs/2603.07122; written from facts about the authors' code, which has no licence.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of its square", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root", ge=0)
    switch_rate: float = hyper(0.01, "by how much the weight of the inverse falls a step", ge=0)
    weight_decay: float = decoupled(0.0)
    decoupled_weight_decay: bool = hyper(True, "False: add weight_decay*p to g")

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
        switch_rate: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        exp_avg = lerp(g, exp_avg, beta1)
        exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
        c2 = 1 - beta2**step
        d = root(second_moment(exp_avg_sq, c2), eps, c2)
        mean = exp_avg / (1 - beta1**step)
        a = maximum(0.0, 1 - step * switch_rate)
        if a < switch_rate:
            return p - lr * mean / d, exp_avg, exp_avg_sq
        return p - lr * ((1 - a) * mean / d + a * mean * d), exp_avg, exp_avg_sq
