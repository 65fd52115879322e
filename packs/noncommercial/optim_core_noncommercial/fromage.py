"""Fromage."""

from __future__ import annotations

import math

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, norm, sqrt, where


class Fromage(RuleOptimizer):
    """Moves every parameter tensor by a share lr of its own norm, whatever the size of its gradient.

    ::

        p = p - lr (||p|| / ||g||) g          lr g if either norm is 0
        p = p / sqrt(1 + lr^2)
        p = p max / ||p||                     with p_bound, if ||p|| exceeds max = p_bound ||p_1||

    p_1 is the tensor before its first step. Without p_bound there is no state. A tensor that starts at zero leaves it
    very slowly, and not at all with p_bound. The second line acts under a zero gradient too. Clipping gradients has no
    effect.

    The authors' licence is CC-BY-NC-SA-4.0, for the algorithm too; this is written from the formulas.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([3.0, -4.0]))
        >>> loss = Fromage([w], lr=0.75).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.6, -0.8]

    Source: Bernstein et al., On the distance between two neural networks and the stability of learning, 2020,
    Algorithm 1, https://arxiv.org/abs/2002.03432; p_bound from the authors' code.
    """

    lr: float = hyper(0.01, "step size, a share of each tensor's norm", ge=0, search=(1e-3, 1e-1))
    p_bound: float | None = hyper(None, "largest norm, as a multiple of the first; None for any", gt=0)

    max_norm = state(
        "largest norm allowed; inf until the first step",
        level="tensor",
        start=math.inf,
        when=lambda group: group["p_bound"] is not None,
    )

    @staticmethod
    def rule(
        p: Value, g: Value, max_norm: Value | None, *, lr: Value, p_bound: Value | None
    ) -> tuple[Value | None, ...]:
        """The update above."""
        p_norm, g_norm = norm(p), norm(g)
        scale = where((p_norm > 0) & (g_norm > 0), p_norm / g_norm, 1.0)
        new_p = (p - lr * scale * g) / sqrt(1 + lr * lr)
        if max_norm is None or p_bound is None:
            return new_p, max_norm
        max_norm = where(max_norm < math.inf, max_norm, p_bound * p_norm)
        new_norm = norm(new_p)
        return new_p * where(new_norm > max_norm, max_norm / new_norm, 1.0), max_norm
