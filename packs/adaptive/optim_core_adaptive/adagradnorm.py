"""AdaGrad-Norm."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, l2, state
from optim_core.rules import Value, sqrt, square, total


class AdaGradNorm(RuleOptimizer):
    """SGD whose one step size falls with the root of the sum of all squared gradient norms so far.

    With |g| the norm of all gradients of all groups, and s = b0^2 at first::

        s = s + |g|^2
        p = p - lr g / sqrt(s)

    It converges for any lr and b0 without knowing how smooth the loss is or how noisy its gradients are. A b0 far above
    the norms gives plain SGD with lr / b0 for a long time, one far below them a first step of length lr. Nothing is
    forgotten, so steps only get shorter. Every element has the same step size; with one for each it is ``adagrad``.
    Groups with lr = 0 stand still and count for nothing.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.5, -2.0]))
        >>> loss = AdaGradNorm([w], lr=1.3, b0=12.0).minimize(lambda: w.square().sum())  # |g| is 5, sqrt(s) 13
        >>> [round(x, 3) for x in w.tolist()]
        [1.2, -1.6]

    Source: Ward, Wu and Bottou, AdaGrad stepsizes: Sharp convergence over nonconvex landscapes, 2019, Algorithm 1,
    https://arxiv.org/abs/1806.01811.
    """

    lr: float = hyper(1.0, "step size", ge=0, search=(1e-2, 1e1))
    b0: float = hyper(0.1, "root of the first value of the sum", gt=0, common=True)
    weight_decay: float = l2(0.0)

    sum = state("b0 squared, and squared norms of g so far", level="whole")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        sum: Value,  # noqa: A002 - as in adagrad
        *,
        lr: Value,
        b0: Value,
        whole_step: Value,
        largest_lr: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        if not largest_lr:
            return p, sum
        s = (square(b0) if whole_step == 1 else sum) + total(square(g) if lr else 0 * g)
        return p - lr * g / sqrt(s), s
