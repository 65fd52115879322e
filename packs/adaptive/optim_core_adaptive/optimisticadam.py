"""OptimisticAdam."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, lerp, root, second_moment, sqrt, square


class OptimisticAdam(RuleOptimizer):
    """Adam that expects its next direction to differ from this one as this one does from the last.

    With c1 = 1 - beta1^t and c2 = 1 - beta2^t, and r' the r of the step before::

        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2
        n = m / c1                        nesterov: beta1 m / (1 - beta1^(t+1)) + (1 - beta1) g / c1
        r = n / (sqrt(v / c2) + eps)
        p = p - lr (alpha r + beta (r - r'))

    It is meant for games, in which every player steps by the gradient at the common point: the correction damps the
    rotation about an equilibrium that plain gradients spiral away from. Three forms are about:

    * variant="optax": r' = r in the first step, which is Adam's then;
    * "paper": r' = 0 in the first step, which is twice as long;
    * "authors": as "paper", with r = c1 n / (sqrt(v) + eps) and lr sqrt(c2) / c1 in the place of lr, so that the old
      direction, too, is corrected by the count of this step, and eps weighs more in the first steps.

    r' has no lr in it: a schedule acts on both parts. optax has nesterov on by default. There is no decay of weights.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = OptimisticAdam([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.9]

    Source: Daskalakis, Ilyas, Syrgkanis and Zeng, Training GANs with Optimism, 2017, Algorithm 1,
    https://arxiv.org/abs/1711.00141; variants as in optax.optimistic_adam_v2 and the authors' code.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of its square", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root", ge=0)
    alpha: float = hyper(1.0, "weight of the direction", ge=0)
    beta: float = hyper(1.0, "weight of its change, the optimism", ge=0)
    nesterov: bool = hyper(False, "Nesterov momentum in Adam's numerator")
    variant: str = hyper("optax", "whose form of the first change, of eps", choices=("optax", "paper", "authors"))

    exp_avg = state("average of g")
    exp_avg_sq = state("average of g squared")
    prev_direction = state("r of the step before")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        prev_direction: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        alpha: Value,
        beta: Value,
        nesterov: bool,
        variant: str,
        first: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        exp_avg = lerp(g, exp_avg, beta1)
        exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
        c1, c2 = 1 - beta1**step, 1 - beta2**step
        n = exp_avg / c1
        if nesterov:
            n = beta1 / (1 - beta1 ** (step + 1)) * exp_avg + (1 - beta1) / c1 * g
        v = second_moment(exp_avg_sq, c2)
        if variant == "authors":
            lr, r = lr * sqrt(c2) / c1, c1 * n / root(v, eps, c2, outside=True)
        else:
            r = n / root(v, eps, c2)
        before = r if first and variant == "optax" else prev_direction
        return p - lr * (alpha * r + beta * (r - before)), exp_avg, exp_avg_sq, r
