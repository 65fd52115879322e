"""A2Grad."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, dot, lerp, maximum, sqrt, square


class A2Grad(RuleOptimizer):
    """Nesterov's accelerated method whose step sizes adapt to how far gradients stray from their average.

    p is where gradients are taken, x a second sequence that starts there; k = 0, 1, 2, ... counts steps; d^2 is summed
    over the tensor, or with per_element=True kept for each element::

        G = (k G + g) / (k + 1),   d = g - G
        uni:  v = v + d^2                          h = sqrt(v)
        inc:  v = (k/(k+1))^2 v + d^2              h = sqrt(v)
        exp:  w = rho w + (1 - rho) d^2  (d^2 at first),   v = max(v, w),   h = sqrt((k+1) v)
        c = lr / (2 lips/(k+1) + beta h),   a = 2/(k+2),   a' = 2/(k+3)
        x = x - c g
        p = (1 - a') p + a' x - (1 - a') a c g

    The method has no lr; here it is a factor on c, for schedulers, and lr = 0 stands still. Where gradients do not vary
    at all, c grows with k without bound.

    The paper's h is a vector, as with per_element=True; every program takes one number per tensor, and for that the
    defaults were chosen, so it is the default here. Some ports count k from 1, multiply h by sqrt(k+1) in "inc", and
    start the average w at 0. There is no weight decay.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = A2Grad([w]).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.8]

    Source: Deng, Cheng and Lan, Optimal Adaptive and Accelerated Stochastic Gradient Descent, 2018, Algorithms 4 to 7,
    https://arxiv.org/abs/1810.00553.
    """

    lr: float = hyper(1.0, "factor on the step size; 1 is the method itself", ge=0, search=(0.1, 10.0))
    variant: str = hyper("uni", "weights in v: uniform, increasing, exponential", choices=("uni", "inc", "exp"))
    beta: float = hyper(10.0, "weight of the spread of gradients in the step size", ge=0)
    lips: float = hyper(10.0, "estimate of the gradient's Lipschitz constant", gt=0)
    rho: float = hyper(0.5, "decay of the exponential average, variant 'exp' only", ge=0, lt=1)
    per_element: bool = hyper(False, "a step size for each element, as in the paper, instead of each tensor")

    avg_grad = state("average of all g")
    x_k = state("the second sequence", start="p")
    v_k = state("weighted sum of d^2", level=lambda group: _level(group["per_element"]))
    v_kk = state(
        "exponential average of d^2",
        level=lambda group: _level(group["per_element"]),
        when=lambda group: group["variant"] == "exp",
    )

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        avg_grad: Value,
        x_k: Value,
        v_k: Value,
        v_kk: Value,
        *,
        lr: Value,
        variant: str,
        beta: Value,
        lips: Value,
        rho: Value,
        per_element: bool,
        step: Value,
        first: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        k = step - 1
        avg_grad = lerp(avg_grad, g, 1 / (k + 1))
        d = g - avg_grad
        q = square(d) if per_element else dot(d, d)
        if variant == "exp":
            v_kk = q if first else lerp(q, v_kk, rho)
            v_k = maximum(v_k, v_kk)
            h = sqrt((k + 1) * v_k)
        else:
            v_k = q + (square(k / (k + 1)) * v_k if variant == "inc" else v_k)
            h = sqrt(v_k)
        c = lr / (2 * lips / (k + 1) + beta * h)
        a, a_next = 2 / (k + 2), 2 / (k + 3)
        x_k = x_k - c * g
        if lr:
            p = lerp(p, x_k, a_next) - (1 - a_next) * a * c * g
        return p, avg_grad, x_k, v_k, v_kk


def _level(per_element: bool) -> str:
    return "element" if per_element else "tensor"
