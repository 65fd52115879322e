"""UnscaledAdamW."""

from __future__ import annotations

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core.rules import Value, lerp, maximum, sqrt, square
from optim_core_adaptive.debiasing import debiased


class UnscaledAdamW(RuleOptimizer):
    """The average of normalised gradients, given back the scale that gradients have now.

    With b' = b (1 - b^(t-1)) / (1 - b^t) for each beta, so that nothing needs a correction::

        p = p (1 - lr weight_decay)
        v = beta2' v + (1 - beta2') g^2
        d = max(sqrt(v), eps)
        m = beta1' m + (1 - beta1') g / d
        p = p - lr m d

    Steps are as long as gradients, so lr is that of SGD with momentum, not Adam's. HeavyBall's own description speaks
    of AdamW without the second moment; this is what its code does. There eps is not read, and 1e-8 always. Its warm-up
    of lr is a scheduler here (linear_warmup), and its caution the wrapper cautious.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = UnscaledAdamW([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.8, -1.6]

    Source: HeavyBall's UnscaledAdamW, https://github.com/HomebrewML/HeavyBall; there is no paper.
    """

    lr: float = hyper(2.5e-3, "step size", ge=0, search=(1e-3, 1.0))
    betas: tuple[float, float] = hyper((0.9, 0.99), "decay of the averages of g/d and of g squared", ge=0, lt=1)
    eps: float = hyper(1e-8, "least root", gt=0)
    weight_decay: float = decoupled(0.0)
    decoupled_weight_decay: bool = hyper(True, "False: add weight_decay*p to g")

    exp_avg = state("average of g/d")
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
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        exp_avg_sq = lerp(square(g), exp_avg_sq, debiased(betas[1], step))
        d = maximum(sqrt(exp_avg_sq), eps)
        exp_avg = lerp(g / d, exp_avg, debiased(betas[0], step))
        return p - lr * exp_avg * d, exp_avg, exp_avg_sq
