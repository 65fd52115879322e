"""M-SVAG."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, lerp, minimum, square, where


class MSVAG(RuleOptimizer):
    """Momentum whose elements shrink as far as they are noise: stochastic variance-adapted gradient with momentum.

    With B = beta^t, the share that the averages' start still has::

        m = beta m + (1 - beta) g                      averages, below divided by 1 - B
        v = beta v + (1 - beta) g^2
        rho = (1 - beta)^2 (1 - B^2) / ((1 - B)^2 (1 - beta^2))
        s = (v - m^2) / (1 - rho)                      variance of an element of g; rho s is that of m
        p = p - lr f m,       f = m^2 / (m^2 + rho s)

    f is 0 where m is, and is kept in [0, 1] against rounding. In the first step, where rho = 1 and there is no variance
    to see, f = 1; the authors' code divides rounding errors by 1e-4 there, which changes that step by 1e-12 in float64
    and by up to 1e-3 in float32. One beta serves both averages, because rho rests on it. Adam's m / sqrt(v) is a sign
    with a factor; this keeps the magnitude. float32 loses gradients below 1e-19, whose squares are 0.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
        >>> loss = MSVAG([w], lr=0.25).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.5, -1.0]

    Source: Balles and Hennig, Dissecting Adam: The Sign, Magnitude and Variance of Stochastic Gradients, 2017,
    Algorithm 1 (M-SVAG), https://arxiv.org/abs/1705.07774.
    """

    lr: float = hyper(0.1, "step size", ge=0, search=(1e-3, 1.0))
    beta: float = hyper(0.9, "decay of the averages of g and of its square", ge=0, lt=1)

    exp_avg = state("average of g")
    exp_avg_sq = state("average of g squared")

    @staticmethod
    def rule(
        p: Value, g: Value, exp_avg: Value, exp_avg_sq: Value, *, lr: Value, beta: Value, step: Value
    ) -> tuple[Value, ...]:
        """The update above."""
        exp_avg = lerp(g, exp_avg, beta)
        exp_avg_sq = lerp(square(g), exp_avg_sq, beta)
        B = beta**step
        m, v = exp_avg / (1 - B), exp_avg_sq / (1 - B)
        rho = square(1 - beta) * (1 - square(B)) / (square(1 - B) * (1 - square(beta)))
        if rho > 0.9999:
            return p - lr * m, exp_avg, exp_avg_sq
        s = (v - square(m)) / (1 - rho)
        either = square(m) + rho * s
        f = where(either > 0, minimum(square(m) / either, 1.0), 0.0)
        return p - lr * f * m, exp_avg, exp_avg_sq
