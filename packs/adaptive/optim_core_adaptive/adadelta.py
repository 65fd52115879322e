"""AdaDelta."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, l2, state
from optim_core.rules import Value, denominator, lerp, sqrt, square


class AdaDelta(RuleOptimizer):
    """Steps in the units of the weights: the gradient times the ratio of two roots, of past steps and of gradients.

    ::

        s = rho s + (1 - rho) g^2
        x = sqrt(u + eps) / sqrt(s + eps) g
        u = rho u + (1 - rho) x^2
        p = p - lr x

    eps sets the length of the first steps, sqrt(eps / (1 - rho)) an element; a larger one quickens the start. u holds
    x before lr. The paper has no lr, that is lr = 1, and prefers rho = 0.95; Keras's default lr of 0.001 is far too
    small for the method.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = AdaDelta([w], lr=10.0).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.968, -1.968]

    Source: Zeiler, ADADELTA: An Adaptive Learning Rate Method, 2012, Algorithm 1, https://arxiv.org/abs/1212.5701; lr
    and weight decay as in torch.
    """

    lr: float = hyper(1.0, "factor on the step", ge=0, search=(0.1, 10.0))
    rho: float = hyper(0.9, "decay of the averages of g squared and of the steps squared", ge=0, lt=1)
    eps: float = hyper(1e-6, "added to both averages; with 0 nothing would ever move", gt=0)
    weight_decay: float = l2(0.0)

    square_avg = state("average of g squared")
    acc_delta = state("average of the steps squared")

    @staticmethod
    def rule(
        p: Value, g: Value, square_avg: Value, acc_delta: Value, *, lr: Value, rho: Value, eps: Value
    ) -> tuple[Value, ...]:
        """The update above."""
        square_avg = lerp(square(g), square_avg, rho)
        x = sqrt(acc_delta + eps) / denominator(sqrt(square_avg + eps), bare=sqrt(square_avg)) * g
        acc_delta = lerp(square(x), acc_delta, rho)
        return p - lr * x, square_avg, acc_delta
