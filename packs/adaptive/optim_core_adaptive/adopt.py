"""ADOPT."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, clamp, denominator, lerp, maximum, second_moment, sqrt, square


class ADOPT(RuleOptimizer):
    """Adam that divides a gradient by the average square of those before it, and averages what results.

    ::

        v = g^2 in the first step, in which p stays as it is;  later
        n = g / max(sqrt(v), eps)              v without the present g
        n = n, but between -c and c            c = (t - 1)^clip_exp;  clip_exp=None: n as it is
        m = beta1 m + (1 - beta1) n
        p = p - lr m                           (decoupled decay before: p (1 - lr weight_decay))
        v = beta2 v + (1 - beta2) g^2

    So it converges with any beta2. eps is the least denominator and is not added; nothing is corrected. An element
    whose first gradient is 0 has no other denominator in the second step. The authors' clip_lambda, a function of the
    steps already taken, is a power in all their uses: here its exponent is the option, None for their first version.
    Ports differ: timm's exponent is 0.333, kozistr's pytorch_optimizer counts the step at hand as taken, and decays in
    the first step, too.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = ADOPT([w], lr=0.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(3)]
        >>> losses[0] == losses[1] > losses[2], [round(x, 3) for x in w.tolist()]
        (True, [0.971, -1.971])

    Source: Taniguchi et al., ADOPT: Modified Adam Can Converge with Any beta2 with the Optimal Rate, 2024,
    Algorithm 2, https://arxiv.org/abs/2411.02853; clipping as in the authors' code.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.9999), "decay of the averages of n and of g squared", ge=0, lt=1)
    eps: float = hyper(1e-6, "least denominator", ge=0)
    clip_exp: float | None = hyper(0.25, "n is clipped to the power of the steps taken; None for no clip", ge=0)
    weight_decay: float = hyper(0.0, "L2, added to the gradient; or decoupled, times lr", ge=0)
    decoupled_weight_decay: bool = hyper(False, "shrink p by 1 - lr*weight_decay instead of adding to g")

    exp_avg = state("average of normalised gradients")
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
        clip_exp: Value | None,
        weight_decay: Value,
        decoupled_weight_decay: bool,
        first: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        if weight_decay and not decoupled_weight_decay:
            g = g + weight_decay * p
        if first:
            return p, exp_avg, square(g)
        if weight_decay and decoupled_weight_decay:
            p = p * (1 - lr * weight_decay)
        bare = sqrt(second_moment(exp_avg_sq))
        n = g / denominator(maximum(bare, eps), bare=bare)
        if clip_exp is not None:
            c = (step - 1) ** clip_exp
            n = clamp(n, -c, c)
        exp_avg = lerp(n, exp_avg, betas[0])
        return p - lr * exp_avg, exp_avg, lerp(square(g), exp_avg_sq, betas[1])
