"""AdaMod."""

from __future__ import annotations

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core.rules import Value, lerp, minimum, root, sqrt, square


class AdaMod(RuleOptimizer):
    """Adam whose step sizes are limited, element by element, to their own average so far.

    With c1 = 1 - beta1^t and c2 = 1 - beta2^t::

        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2
        s = lr sqrt(c2)/c1 / (sqrt(v) + eps)
        e = beta3 e + (1 - beta3) s
        p = p - min(s, e) m                               (decay before: p (1 - lr weight_decay))

    e starts at 0 and is not corrected, so the first step is 1 - beta3 times Adam's: a warm-up over some 1/(1 - beta3)
    steps. beta3 = 0 gives Adam. e remembers lr: after a rise of lr it lags behind. An element whose gradients are all 0
    at first has s = lr/eps about, and then e limits nothing for a long time. Ports write beta3 as a third beta, some
    with other defaults.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = AdaMod([w], lr=0.1, beta3=0.5).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.95, -1.95]

    Source: Ding, Ren, Luo and Sun, An Adaptive and Momental Bound Method for Stochastic Learning, 2019,
    https://arxiv.org/abs/1910.12249; decay as in the authors' code.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of its square", ge=0, lt=1)
    beta3: float = hyper(0.999, "decay of the average of step sizes, 0 for Adam", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the uncorrected root", ge=0)
    weight_decay: float = decoupled(0.0)

    exp_avg = state("average of g")
    exp_avg_sq = state("average of g squared")
    exp_avg_lr = state("average of the step sizes")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        exp_avg_lr: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        beta3: Value,
        eps: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        exp_avg = lerp(g, exp_avg, beta1)
        exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
        c2 = 1 - beta2**step
        s = lr * sqrt(c2) / (1 - beta1**step) / root(exp_avg_sq, eps, c2, outside=True)
        exp_avg_lr = lerp(s, exp_avg_lr, beta3)
        return p - minimum(s, exp_avg_lr) * exp_avg, exp_avg, exp_avg_sq, exp_avg_lr
