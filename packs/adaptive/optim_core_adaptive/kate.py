"""KATE."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, l2, state
from optim_core.rules import Value, sqrt, square


class Kate(RuleOptimizer):
    """AdaGrad without the root: invariant to the scale of features, and so with steps in units of 1/g.

    Element by element::

        b = b + g^2
        m = m + eta g^2 + g^2 / (b + eps)
        p = p - lr sqrt(m) g / (b + eps)

    Where gradients are small the first step is lr / |g|: up to lr / (2 sqrt(eps)), thousands of times lr with the eps
    of the authors. Take a larger eps, or a tiny lr. With eta = 0 steps shrink as 1/t, with a larger one as AdaGrad's.

    pytorch-optimizer adds eps to b anew in each step, calls eta delta, and decays decoupled.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = Kate([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.95, -1.975]

    Source: Choudhury et al., Remove that Square Root: A New Efficient Scale-Invariant Version of AdaGrad, 2024,
    Algorithm 1, https://arxiv.org/abs/2403.02648.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-5, 1e-2))
    eta: float = hyper(0.0, "weight of g squared in m", ge=0)
    eps: float = hyper(1e-8, "added to the sum of squares", gt=0)
    weight_decay: float = l2(0.0)
    decoupled_weight_decay: bool = hyper(False, "shrink p by 1 - lr*weight_decay instead of adding to g")

    m = state("sum of eta g^2 + g^2/b")
    b = state("sum of g squared")

    @staticmethod
    def rule(p: Value, g: Value, m: Value, b: Value, *, lr: Value, eta: Value, eps: Value) -> tuple[Value, ...]:
        """The update above."""
        b = b + square(g)
        m = m + eta * square(g) + square(g) / (b + eps)
        return p - lr * sqrt(m) * g / (b + eps), m, b
