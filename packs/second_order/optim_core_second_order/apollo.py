"""Apollo."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, amax, denominator, dot, maximum, mean, minimum, norm, sqrt, square


class Apollo(RuleOptimizer):
    """A diagonal quasi-Newton method: curvature from how the average gradient has changed along the last step.

    For each tensor, | |_4 being the 4-norm, < , > the sum of products, alpha = (1 - beta) / (1 - beta^t)::

        y = g - m
        m = m + alpha y
        q = |d|_4 + e                                         e = eps / 0.01
        B = B - (alpha <y, d> + <B, d^2>) d^2 / q^4           the least change that fits the last step
        D = max(|B|, 0.01)
        d = m / D
        p = p - eta d

    With ``rebound="belief"`` e is eps, the floor of |B| is the largest |y| of the tensor, and D grows by eps / alpha.
    eta rises in ``warmup`` steps from ``init_lr`` (None: lr/1000) to lr: the very first step is 100 eta g. It follows
    the group's lr here, so that schedulers work and lr = 0 stands still; the authors' code takes the first lr until the
    warm-up is over. Decay of type "L2" joins g; "decoupled" adds weight_decay p to d, "stable" that divided by the mean
    of D, both before d is kept, so that the next secant sees them. None: "L2", or "decoupled" with belief.

    Another method of this name (Zhu et al., 2024) is AdamW with low-rank projections; pytorch-optimizer calls that one
    ``apollo`` and this one ``apollodqn``, and counts warm-up one step ahead.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = Apollo([w], lr=1e-3, warmup=0).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.8, -1.6]

    Source: Ma, Apollo: An Adaptive Parameter-wise Diagonal Quasi-Newton Method for Nonconvex Stochastic Optimization,
    2020, Algorithm 1, https://arxiv.org/abs/2009.13586; floor, belief and decay as in the authors' code.
    """

    lr: float = hyper(1e-2, "step size after the warm-up", ge=0, search=(1e-3, 1.0))
    beta: float = hyper(0.9, "decay of the average of g, corrected", ge=0, lt=1)
    eps: float = hyper(1e-4, "keeps norms from 0", gt=0)
    rebound: str = hyper("constant", "floor of the curvature", choices=("constant", "belief"))
    warmup: int = hyper(500, "steps in which the step size rises", ge=0)
    init_lr: float | None = hyper(None, "first step size, at most lr; None for lr/1000", ge=0)
    weight_decay: float = hyper(0.0, "decay, of the type below", ge=0)
    weight_decay_type: str | None = hyper(
        None, "how it is applied; None goes by rebound", choices=("L2", "decoupled", "stable")
    )

    exp_avg_grad = state("m")
    approx_hessian = state("B")
    update = state("d")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg_grad: Value,
        approx_hessian: Value,
        update: Value,
        *,
        lr: Value,
        beta: Value,
        eps: Value,
        rebound: str,
        warmup: Value,
        init_lr: Value | None,
        weight_decay: Value,
        weight_decay_type: str | None,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        m, B, d = exp_avg_grad, approx_hessian, update
        belief = rebound == "belief"
        decay = weight_decay_type or ("decoupled" if belief else "L2")
        eta = lr
        if warmup:
            start = lr / 1000 if init_lr is None else minimum(init_lr, lr)
            eta = start + (lr - start) * minimum((step - 1) / warmup, 1.0)
        alpha = (1 - beta) / (1 - beta**step)
        if weight_decay and decay == "L2":
            g = g + weight_decay * p
        y = g - m
        m = m + alpha * y
        q = sqrt(norm(square(d))) + (eps if belief else eps / 0.01)
        B = B - (alpha * dot(y, d) + dot(B, square(d))) / q**4 * square(d)
        D = maximum(abs(B), amax(abs(y)) if belief else 0.01)
        if belief:
            D = D + eps / alpha
        d = m / denominator(D)
        if weight_decay and decay != "L2":
            d = d + (weight_decay / mean(D) if decay == "stable" else weight_decay) * p
        return p - eta * d, m, B, d
