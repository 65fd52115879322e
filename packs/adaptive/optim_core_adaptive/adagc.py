"""AdaGC."""

from __future__ import annotations

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core.rules import Value, lerp, maximum, minimum, norm, root, second_moment, sqrt, square, total


class AdaGC(RuleOptimizer):
    """AdamW whose gradients are clipped tensor by tensor, to what is usual for each.

    | | is the norm of a tensor, N that of all gradients of all groups. In the first steps, t < warmup_steps::

        h = min(1, lambda_abs / (N + eps));                             gamma = min(gamma, |h g|)

    and later::

        h = min(1, lambda_rel max(gamma, eps) / max(|g|, eps));         gamma = beta gamma + (1 - beta) |h g|

    Then come AdamW's steps on h g. It takes the place of clipping the norm of all gradients: do not combine the two.
    gamma follows clipped norms and rises slowly: where the first steps end with unusually small gradients, training
    is throttled for long. A parameter that joins later is not clipped in its first step.

    The eps beside N is of the implementation that was measured, not of the paper.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = AdaGC([w], lr=0.1, weight_decay=0.0).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.9]

    Source: Wang et al., AdaGC: Improving Training Stability for Large Language Model Pretraining, 2025, Algorithm 1,
    https://arxiv.org/abs/2502.11034.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of its square", ge=0, lt=1)
    beta: float = hyper(0.98, "decay of the average norm", ge=0, lt=1)
    lambda_abs: float = hyper(1.0, "largest norm of all gradients in the first steps", gt=0, common=True)
    lambda_rel: float = hyper(1.05, "largest norm of a tensor over its average, later", gt=0)
    warmup_steps: int = hyper(100, "how many first steps there are, and one", ge=0, common=True)
    eps: float = hyper(1e-8, "added to the root; least norm", ge=0)
    weight_decay: float = decoupled(0.1)
    decoupled_weight_decay: bool = hyper(True, "False: add weight_decay*p to g")
    fixed_decay: bool = hyper(False, "decay by weight_decay alone, without lr")

    exp_avg = state("average of clipped g")
    exp_avg_sq = state("average of its square")
    gamma = state("average norm of clipped g", level="tensor")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        gamma: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        beta: Value,
        lambda_abs: Value,
        lambda_rel: Value,
        warmup_steps: Value,
        eps: Value,
        first: Value,
        step: Value,
        whole_step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        if whole_step < maximum(warmup_steps, 2):
            g = minimum(lambda_abs / (sqrt(total(square(g))) + eps), 1.0) * g
            gamma = norm(g) if first else minimum(gamma, norm(g))
        elif first:
            gamma = norm(g)
        else:
            g = minimum(lambda_rel * maximum(gamma, eps) / maximum(norm(g), eps), 1.0) * g
            gamma = lerp(norm(g), gamma, beta)
        exp_avg = lerp(g, exp_avg, beta1)
        exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
        c2 = 1 - beta2**step
        p = p - lr / (1 - beta1**step) * exp_avg / root(second_moment(exp_avg_sq, c2), eps, c2)
        return p, exp_avg, exp_avg_sq, gamma
