"""AdamP."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, lerp, root, second_moment, square, tangential, where


class AdamP(RuleOptimizer):
    """Adam that leaves out the part of a step that only lengthens weights whose length does not matter.

    d = m / (sqrt(v / (1 - beta2^t)) + eps) is Adam's direction. A view x of p (each row by itself, or p as a whole)
    counts as scale-invariant if |cos(g, x)| < delta / sqrt(n) for all its rows of n numbers; rows are tried first.
    Then d loses its part along x, and the decay is wd_ratio times as strong::

        d = d - x (x . d) / (||x|| + eps)^2
        p = p (1 - lr weight_decay wd_ratio) - lr d / (1 - beta1^t)

    Parameters with fewer than two dimensions get plain Adam steps. A row of zeros passes the test and loses nothing.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        >>> turn = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        >>> loss = AdamP([w], lr=0.1).minimize(lambda: (w * turn).sum())
        >>> [round(x, 3) for x in w.flatten().tolist()]
        [1.0, -0.1, -0.1, 2.0]

    Source: Heo et al., AdamP: Slowing Down the Slowdown for Momentum Optimizers on Scale-invariant Weights, 2020,
    Algorithm 2, https://arxiv.org/abs/2006.08217.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of its square", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root and to norms", ge=0)
    weight_decay: float = hyper(0.0, "decoupled decay, times lr", ge=0)
    delta: float = hyper(0.1, "threshold of the cosine, times sqrt(n)", ge=0)
    wd_ratio: float = hyper(0.1, "factor on the decay of scale-invariant weights", ge=0)
    nesterov: bool = hyper(False, "look ahead: beta1 m + (1 - beta1) g in the place of m")

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
        delta: Value,
        wd_ratio: Value,
        nesterov: bool,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        exp_avg = lerp(g, exp_avg, beta1)
        exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
        c2 = 1 - beta2**step
        d = (lerp(g, exp_avg, beta1) if nesterov else exp_avg) / root(second_moment(exp_avg_sq, c2), eps, c2)
        decay = lr * weight_decay
        if p.ndim > 1:
            d, invariant = tangential(d, p, g, delta=delta, eps=eps)
            decay = decay * where(invariant, wd_ratio, 1.0)
        if weight_decay:
            p = p * (1 - decay)
        return p - lr / (1 - beta1**step) * d, exp_avg, exp_avg_sq
