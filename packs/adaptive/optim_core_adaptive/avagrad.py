"""AvaGrad."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, denominator, lerp, size, sqrt, square, total


class AvaGrad(RuleOptimizer):
    """Adam that divides by the average square before this gradient, with steps whose mean size does not depend on eps.

    With c1 = 1 - beta1^t, r = sqrt(v) of the step before, and N the number of elements::

        m = beta1 m + (1 - beta1) g
        p = p - gamma lr/c1 m / (r / sqrt(1 - beta2^(t-1)) + eps)         from the second step on
        v = beta2 v + (1 - beta2) g^2
        gamma = sqrt( N / sum 1/(r / sqrt(1 - beta2^t) + eps)^2 )

    The first step only fills the averages. eps is the knob that matters: 0.1 is close to SGD, and lr is then of its
    order; small ones are close to Adam. Thanks to gamma the two can be tuned one after the other.

    gamma is one number for the model, as in the paper; the authors' code has one for each group. There too it takes r
    from before the gradient, so that it lags one step behind the denominator that it normalises. Decoupled decay,
    AvaGradW, is by lr weight_decay and begins with the second step; a port decays in the first one as well, and does so
    by default.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = AvaGrad([w], lr=0.25)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(3)]
        >>> losses[0] == losses[1] > losses[2]
        True

    Source: Savarese, McAllester, Babu and Maire, Domain-independent Dominance of Adaptive Methods, 2019,
    https://arxiv.org/abs/1912.01823; order of the steps as in the authors' code.
    """

    lr: float = hyper(0.1, "step size", ge=0, search=(1e-2, 1.0))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of its square", ge=0, lt=1)
    eps: float = hyper(0.1, "added to the root: large for SGD, small for Adam", gt=0)
    weight_decay: float = hyper(0.0, "L2 coefficient, added to the gradient", ge=0)
    decoupled_weight_decay: bool = hyper(False, "shrink p by 1 - lr*weight_decay instead (AvaGradW)")

    exp_avg = state("average of g")
    exp_avg_sq = state("average of g squared")
    gamma = state("factor on the step size", level="whole")

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
        eps: Value,
        weight_decay: Value,
        decoupled_weight_decay: bool,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        if weight_decay and not decoupled_weight_decay:
            g = g + weight_decay * p
        r = sqrt(exp_avg_sq)
        exp_avg = lerp(g, exp_avg, beta1)
        exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)

        def corrected(c2: Value) -> Value:
            return denominator(r / sqrt(c2) + eps, bare=r, correction=c2)

        new_gamma = sqrt(total(size(p)) / total(1 / square(corrected(1 - beta2**step))))
        if step > 1:
            if weight_decay and decoupled_weight_decay:
                p = p * (1 - lr * weight_decay)
            p = p - gamma * lr / (1 - beta1**step) * exp_avg / corrected(1 - beta2 ** (step - 1))
        return p, exp_avg, exp_avg_sq, new_gamma
