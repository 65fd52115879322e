"""DoWG."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, maximum, sqrt, square, total


class DoWG(RuleOptimizer):
    """SGD whose step size is a squared distance over the root of the weighted sum of squared gradients.

    || || are norms over all parameters, x0 is where they started; r2 starts at eps::

        r2 = max(r2, ||p - x0||^2)
        v = v + r2 ||g||^2
        p = p - lr r2 / (sqrt(v) + eps) g

    Leave lr at 1 (only optax has it, too), without a schedule. eps is both the first squared distance, so that the
    first step is at most 0.01 long, and what keeps small gradients from long steps. Groups with lr = 0 stand still and
    count for nothing.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = DoWG([w])
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(50)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Khaled, Mishchenko and Jin, DoWG Unleashed: An Efficient Universal Parameter-Free Gradient Descent Method,
    2023, Algorithm 1, https://arxiv.org/abs/2305.16284.
    """

    lr: float = hyper(1.0, "factor on the step size found", ge=0, search=(0.1, 10.0))
    eps: float = hyper(1e-4, "first squared distance; added to the root", gt=0, common=True)

    x0 = state("p at the start", start="p")
    rbar2 = state("largest squared distance so far", level="whole", start="eps")
    v = state("weighted sum of squared norms of g", level="whole")

    @staticmethod
    def rule(
        p: Value, g: Value, x0: Value, rbar2: Value, v: Value, *, lr: Value, eps: Value, largest_lr: Value
    ) -> tuple[Value, ...]:
        """The update above."""
        if not largest_lr:
            return p, x0, rbar2, v
        rbar2 = maximum(rbar2, total(square(p - x0) if lr else 0 * p))
        v = v + rbar2 * total(square(g) if lr else 0 * g)
        return p - lr * rbar2 / (sqrt(v) + eps) * g, x0, rbar2, v
