"""StableAdamW."""

from __future__ import annotations

from typing import Any

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, gain, lerp, maximum, mean, root, second_moment, sqrt, square
from optim_core_adaptive.debiasing import debiased
from optim_core_adaptive.first_lr import with_first_lr


class StableAdamW(RuleOptimizer):
    """AdamW that shortens the step of a tensor whose gradients have outgrown their average, as AdaFactor does.

    With b' = b (1 - b^(t-1)) / (1 - b^t) for each beta, so that m and v need no correction::

        m = beta1' m + (1 - beta1') g
        v = beta2' v + (1 - beta2') g^2
        R = sqrt(mean of g^2 / max(v, eps^2))         over the tensor
        l = lr / max(1, R)
        p = p (1 - l weight_decay) - l m / (sqrt(v) + eps)

    In place of gradient clipping: a burst that v does not know yet makes R large. The decay shrinks with the step.
    decouple_lr takes l / max_lr in the place of l for the decay, with max_lr the lr that the group had when it was
    added unless given: use a weight_decay below 1e-3 then.

    m and v are what Adam's are after correction; states of Adam's differ by that factor. Where optimi keeps what
    rounding cuts off (kahan_sum), use ``rounding="kahan"``. Its eps is 1e-6, that of other ports 1e-8.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = StableAdamW([w], lr=0.1, weight_decay=0).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.9]

    Source: Wortsman et al., Stable and low-precision training for large-scale vision-language models, 2023,
    Algorithm 2, https://arxiv.org/abs/2304.13013; decay and corrections as in optimi.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.99), "decay of the averages of g and of its square", ge=0, lt=1)
    eps: float = hyper(1e-6, "added to the root; its square is the least v in R", gt=0)
    weight_decay: float = hyper(1e-2, "decoupled decay, times the step size in force", ge=0)
    decouple_lr: bool = hyper(False, "decay by the share of max_lr that is in force, instead of by lr")
    max_lr: float | None = hyper(None, "largest lr of the schedule, for decouple_lr; None for the group's first", ge=0)

    exp_avg = state("corrected average of g")
    exp_avg_sq = state("corrected average of g squared")

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """Remember the first lr."""
        return with_first_lr(options, given, "max_lr")

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
        decouple_lr: bool,
        max_lr: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        exp_avg = lerp(g, exp_avg, debiased(betas[0], step))
        exp_avg_sq = lerp(square(g), exp_avg_sq, debiased(betas[1], step))
        R = sqrt(mean(square(g) / maximum(exp_avg_sq, square(eps))))
        shorter = 1 / maximum(1.0, R)
        lr = gain(lr * shorter, shorter)
        if weight_decay:
            p = p * (1 - (lr / max_lr if decouple_lr and max_lr else lr) * weight_decay)
        return p - lr * exp_avg / root(second_moment(exp_avg_sq), eps), exp_avg, exp_avg_sq
