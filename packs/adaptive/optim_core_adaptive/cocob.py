"""COCOB."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, l2, state
from optim_core.rules import Value, lerp, maximum


class COCOB(RuleOptimizer):
    """Each weight bets on its gradients, from the place x0 where it started: no step size to tune.

    Element by element::

        L = max(L, |g|)                      at first eps
        theta = theta - g
        G = G + |g|
        R = max(0, R - g (p - x0))
        z = x0 + theta / (L max(G + L, alpha L)) (L + R)
        p = (1 - lr) p + lr z

    lr = 1 is the method; the authors' class has no lr (a later one multiplies the gradient by it, which changes next to
    nothing), so that no schedule acts on it. Here lr is the share of the way to z. Since z is made anew from x0 in each
    step, what others do to p does not last. The first step moves every weight that has a gradient by 1 / alpha. One
    huge gradient makes the bets of its weight small for good.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = COCOB([w], alpha=10.0).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.9]

    Source: Orabona and Tommasi, Training Deep Networks without Learning Rates Through Coin Betting, 2017, Algorithm 2,
    https://arxiv.org/abs/1705.07795.
    """

    lr: float = hyper(1.0, "share of the way to the bet", ge=0, search=(0.1, 1.0))
    alpha: float = hyper(100.0, "damps the first bets: about the rounds that they take", gt=0)
    eps: float = hyper(1e-8, "first bound of |g|", gt=0)
    weight_decay: float = l2(0.0)

    x0 = state("p at the start", start="p")
    L = state("largest |g|", start="eps")
    grad_norm_sum = state("G, sum of |g|")
    sum_negative_gradients = state("theta")
    reward = state("R")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        x0: Value,
        L: Value,
        grad_norm_sum: Value,
        sum_negative_gradients: Value,
        reward: Value,
        *,
        lr: Value,
        alpha: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        L = maximum(L, abs(g))
        theta = sum_negative_gradients - g
        G = grad_norm_sum + abs(g)
        reward = maximum(0.0, reward - g * (p - x0))
        z = x0 + theta / (L * maximum(G + L, alpha * L)) * (L + reward)
        return lerp(p, z, lr), x0, L, G, theta, reward
