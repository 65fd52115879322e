"""NAdam."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, l2, state
from optim_core.rules import Value, lerp, root, second_moment, square


class NAdam(RuleOptimizer):
    """Adam with Nesterov momentum, whose weight grows slowly.

    With mu(t) = beta1 (1 - 0.96^(t momentum_decay) / 2), P the product of mu(1) ... mu(t) and c2 = 1 - beta2^t::

        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2
        n = (1 - mu(t)) g / (1 - P) + mu(t+1) m / (1 - P mu(t+1))
        p = p - lr n / (sqrt(v / c2) + eps)

    mu begins near beta1 / 2; with the default momentum_decay its distance to beta1 halves in about 4200 steps. As in
    torch m decays by beta1; in Dozat's report it decays by mu(t). optax's nadam and timm's nadamw are Adam with
    Nesterov momentum without mu: other numbers under one name.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = NAdam([w], lr=0.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(20)]
        >>> losses[-1] < 0.5 * losses[0]
        True

    Source: Dozat, Incorporating Nesterov Momentum into Adam, 2016,
    https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ; in the form of torch.optim.NAdam.
    """

    lr: float = hyper(2e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of its square", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root", ge=0)
    weight_decay: float = l2(0.0)
    momentum_decay: float = hyper(4e-3, "pace at which the momentum's weight grows", ge=0)
    decoupled_weight_decay: bool = hyper(False, "shrink p by 1 - lr*weight_decay instead of adding to g")

    exp_avg = state("average of g")
    exp_avg_sq = state("average of g squared")
    mu_product = state("P, the product of all mu so far", start=1.0, level="tensor")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        mu_product: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        momentum_decay: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        mu = beta1 * (1 - 0.5 * 0.96 ** (step * momentum_decay))
        mu_next = beta1 * (1 - 0.5 * 0.96 ** ((step + 1) * momentum_decay))
        mu_product = mu_product * mu
        exp_avg = lerp(g, exp_avg, beta1)
        exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
        n = (1 - mu) / (1 - mu_product) * g + mu_next / (1 - mu_product * mu_next) * exp_avg
        c2 = 1 - beta2**step
        return p - lr * n / root(second_moment(exp_avg_sq, c2), eps, c2), exp_avg, exp_avg_sq, mu_product
