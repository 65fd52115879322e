"""PNM."""

from __future__ import annotations

from typing import Any

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core.errors import InvalidOption
from optim_core.rules import Value, gain, lerp, sqrt, square


class PNM(RuleOptimizer):
    """Positive-negative momentum: along the latest average gradient, and away from the one of the steps between.

    Odd steps average into one buffer, even steps into the other. With a the buffer of the present step, n the other
    one, and beta0 = betas[1]::

        a = beta1^2 a + (1 - beta1^2) g
        p = p - lr ((1 + beta0) a - beta0 n) / sqrt((1 + beta0)^2 + beta0^2)

    The two averages share no gradient. So noise weighs more against the mean of the steps, 2.2 times as much with
    beta0 = 1. They start at zero and are not corrected: the first step is 0.17 lr g with the default betas, and lr
    should be about 10 times momentum SGD's. Mind decoupled decay, which is times lr. Each parameter counts its own
    steps: one that had no gradient for a while goes on with the buffer whose turn it is.

    Raises:
        InvalidOption: beta1 is not in [0, 1), or beta0 not above -0.5.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = PNM([w], lr=1.0).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.66, -1.32]

    Source: Xie et al., Positive-Negative Momentum: Manipulating Stochastic Gradient Noise to Improve Generalization,
    2021, Algorithm 2, https://arxiv.org/abs/2103.17182; normalised as in the authors' code.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-3, 10.0))
    betas: tuple[float, float] = hyper((0.9, 1.0), "root of the averages' decay; size of the negative part", gt=-0.5)
    weight_decay: float = decoupled(0.0)
    decoupled_weight_decay: bool = hyper(True, "False: add weight_decay*p to g")

    pos_momentum = state("average of g over the odd steps")
    neg_momentum = state("average of g over the even steps")

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """Check the beta that is a decay."""
        del given
        if not 0 <= options["betas"][0] < 1:
            raise InvalidOption(f"{cls.__name__}: betas={options['betas']!r}: the first must be >= 0 and < 1")
        return options

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        pos_momentum: Value,
        neg_momentum: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta0 = betas
        odd = bool(step % 2)
        a, n = (pos_momentum, neg_momentum) if odd else (neg_momentum, pos_momentum)
        a = lerp(g, a, square(beta1))
        noise = sqrt(square(1 + beta0) + square(beta0))
        p = p - gain(lr * ((1 + beta0) * a - beta0 * n) / noise, 1 / noise)
        return (p, a, n) if odd else (p, n, a)
