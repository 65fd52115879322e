"""AdamaxW: Adamax with decoupled weight decay."""

from __future__ import annotations

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core_adaptive.adamax import Adamax


class AdamaxW(RuleOptimizer):
    """Adamax that shrinks the parameter itself instead of adding the decay to the gradient.

    p = p (1 - lr weight_decay), then Adamax's step::

        m = beta1 m + (1 - beta1) g
        u = max(beta2 u, |g| + eps)
        p = p - lr m / (1 - beta1^t) / u

    An element whose gradients have stopped keeps m / u, as long as beta1 <= beta2, from growing. optax needs lr; the
    default here is that of its other methods, half of torch's for Adamax.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = AdamaxW([w], lr=0.1, weight_decay=0.5).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.85, -1.8]

    Source: Kingma and Ba, Adam: A Method for Stochastic Optimization, 2014, Algorithm 2, with the decay of Loshchilov
    and Hutter, 2017, https://arxiv.org/abs/1711.05101; in the form of optax.adamaxw.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the average of g and of the maximum", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to |g|", ge=0)
    weight_decay: float = decoupled(1e-4)
    decoupled_weight_decay: bool = hyper(True, "False: add weight_decay*p to g")

    exp_avg = state("average of g")
    exp_inf = state("decaying maximum of |g|")

    rule = staticmethod(Adamax.rule)
