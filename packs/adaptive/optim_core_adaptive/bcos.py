"""BCOS."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, lerp, maximum, root, second_moment, square


class BCOS(RuleOptimizer):
    """Divides a direction by the root of an estimate of its own average square: step sizes as they would be optimal.

    b is beta, and b2 is beta2, or b if it is not given. m and v start as the first g and g^2. With d = g (mode="g"),
    or d = m = b m + (1 - b) g (the other modes)::

        v = b2 v + (1 - b2) d^2                                            mode="g", mode="m"
        v = (3 b^2 - 2 b^3) m^2 + 2 b (1 - b)^2 m g + (1 - b)^2 g^2        mode="c", with the m before this step
        p = p - lr d / (sqrt(v) + eps)                                     (decay before: p (1 - lr weight_decay))

    mode="c" expects the average square of m from m itself, and keeps nothing for it: one state in all. simple_cond is
    a simpler expectation, b2 m^2 + (1 - b2) g^2, in which b2 is 1 - (1 - b)^2 if it is not given. Nothing is corrected;
    the first step is the sign of g. Without decoupled_weight_decay, weight_decay p joins g after m and v have started
    from g alone. A well-known port takes the m after the step for v in mode "c": another method.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = BCOS([w], lr=0.1, weight_decay=0).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.9]

    Source: Jiang and Xiao, Stochastic Approximation with Block Coordinate Optimal Stepsizes, 2025,
    https://arxiv.org/abs/2507.08963; modes and decay as in the authors' code.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    beta: float = hyper(0.9, "decay of the average of g, and of v unless beta2 is given", ge=0, lt=1)
    beta2: float | None = hyper(None, "decay of v; None for that of the mode", ge=0, lt=1)
    eps: float = hyper(1e-6, "added to the root", ge=0)
    weight_decay: float = hyper(0.1, "decoupled, times lr; or L2, added to the gradient", ge=0)
    mode: str = hyper("c", "what is divided, and how its square is estimated", choices=("g", "m", "c"))
    decoupled_weight_decay: bool = hyper(True, "False: add weight_decay*p to g")
    simple_cond: bool = hyper(False, "the simpler estimate in mode 'c'")

    m = state("average of g", when=lambda group: group["mode"] != "g")
    v = state("average square of the direction", when=lambda group: group["mode"] != "c")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        m: Value,
        v: Value,
        *,
        lr: Value,
        beta: Value,
        beta2: Value | None,
        eps: Value,
        weight_decay: Value,
        mode: str,
        decoupled_weight_decay: bool,
        simple_cond: bool,
        first: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        if first:
            m, v = g, square(g)
        if weight_decay and decoupled_weight_decay:
            p = p * (1 - lr * weight_decay)
        elif weight_decay:
            g = g + weight_decay * p
        d = g if mode == "g" else lerp(g, m, beta)
        if mode != "c":
            v = lerp(square(d), v, beta if beta2 is None else beta2)
        elif simple_cond:
            v = lerp(square(g), square(m), 1 - square(1 - beta) if beta2 is None else beta2)
        else:
            v = _expected(m, g, beta)
        return p - lr * d / root(second_moment(v), eps), d, v


def _expected(m: Value, g: Value, b: Value) -> Value:
    """What the square of the next m is on average, if g is as m but for noise."""
    return maximum((3 - 2 * b) * square(b * m) + square(1 - b) * (2 * b * m * g + square(g)), 0.0)
