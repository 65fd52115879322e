"""AdamG."""

from __future__ import annotations

from typing import Any

from torch.optim.optimizer import ParamsT

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core.rules import Value, lerp, minimum, root, sqrt, square


class AdamG(RuleOptimizer):
    """Adam whose step size is found on the way, element by element, from how large gradients are: nothing to tune.

    The paper's s(x) = p x^q is scale x^power here, since p is the parameter::

        v = beta2 v + (1 - beta2) g^2
        r = beta3 r + (1 - beta3) scale v^power
        m = beta1 m + (1 - beta1) r g
        p = p - min(lr, 1/sqrt(t)) m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)

    r is not corrected, so the first steps are tiny. Leave lr at 1; a schedule acts once lr is below 1/sqrt(t). With so
    large an lr decoupled decay has to be thousands of times smaller than AdamW's. ``AdamG.of_paper`` takes p and q by
    their own names.

    The authors have published no code; this follows pytorch-optimizer's, whose fixed_decay, decay without lr, is
    nothing else while lr is 1.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = AdamG([w], scale=2.0)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(40)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Wang, Kim and Kim, Towards Stability of Parameter-free Optimization, 2024,
    https://arxiv.org/abs/2405.04376.
    """

    lr: float = hyper(1.0, "largest step size", ge=0, search=(1e-2, 1.0))
    betas: tuple[float, float, float] = hyper((0.95, 0.999, 0.95), "decay of the averages m, v and r", ge=0, lt=1)
    scale: float = hyper(0.2, "p of the paper: factor of s", gt=0)
    power: float = hyper(0.24, "q of the paper: exponent of s", ge=0)
    eps: float = hyper(1e-8, "added to the root", ge=0)
    weight_decay: float = decoupled(0.0)
    decoupled_weight_decay: bool = hyper(False, "shrink p by 1 - lr*weight_decay instead of adding to g")

    m = state("average of r*g")
    v = state("average of g squared")
    r = state("average of s(v)")

    @classmethod
    def of_paper(
        cls,
        params: ParamsT,
        lr: float = 1.0,
        betas: tuple[float, float, float] = (0.95, 0.999, 0.95),
        p: float = 0.2,
        q: float = 0.24,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        **options: Any,
    ) -> AdamG:
        """Construct it with the paper's names of the two numbers of s, p and q."""
        return cls(params, lr, betas, p, q, eps, weight_decay, decoupled_weight_decay, **options)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        m: Value,
        v: Value,
        r: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value, Value],
        scale: Value,
        power: Value,
        eps: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2, beta3 = betas
        v = lerp(square(g), v, beta2)
        r = lerp(scale * v**power, r, beta3)
        m = lerp(r * g, m, beta1)
        c2 = 1 - beta2**step
        a = minimum(lr, 1 / sqrt(step)) / (1 - beta1**step)
        return p - a * m / root(v, eps, c2), m, v, r
