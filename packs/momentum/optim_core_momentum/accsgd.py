"""AccSGD."""

from __future__ import annotations

import math
from typing import Any

from optim_core import RuleOptimizer, hyper, l2, state
from optim_core.errors import InvalidOption
from optim_core.rules import Value, lerp, square


class AccSGD(RuleOptimizer):
    """Accelerated SGD: a short step from the weights, mixed with the average of many long ones.

    With c = small_const and b = c^2 xi / kappa::

        w = (1 - b) w + b (p - lr kappa/c g)                   w starts at p
        p = c/(c + b) (p - lr g) + b/(c + b) w

    w, the buffer, holds weights and no gradients: what changes p by hand (pruning, loading other weights) has to change
    it too, or the state has to go. Without a gradient p moves on towards w; with lr = 0 both stand still. A constant
    gradient is amplified 1 + xi times: take momentum SGD's lr where its 1/(1 - momentum) is about that. The method is
    quasi-hyperbolic momentum under other constants, see :meth:`QHM.from_accsgd`.

    Raises:
        InvalidOption: xi is above sqrt(kappa), beyond which the paper does not define the method.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = AccSGD([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.792, -1.583]

    Source: Kidambi, Netrapalli, Jain and Kakade, On the insufficiency of existing momentum schemes for Stochastic
    Optimization, 2018, https://openreview.net/forum?id=rJTutzbA-, where it is called ASGD; constants as in the authors'
    code.
    """

    lr: float = hyper(0.1, "short step", ge=0, search=(1e-3, 1.0))
    kappa: float = hyper(1000.0, "ratio of the long step to the short one", ge=1)
    xi: float = hyper(10.0, "statistical advantage, up to sqrt(kappa): larger for larger batches", ge=1)
    small_const: float = hyper(0.7, "any constant up to 1", gt=0, le=1)
    weight_decay: float = l2(0.0)

    momentum_buffer = state("average of the long steps, a point among the weights", start="p")

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """Refuse an advantage that the paper rules out."""
        del given
        most = math.sqrt(options["kappa"])
        if options["xi"] > most:
            raise InvalidOption(
                f"{cls.__name__}: xi={options['xi']:g} is above sqrt(kappa)={most:g}: take a smaller xi, or kappa="
                f"{options['xi'] ** 2:g}"
            )
        return options

    @staticmethod
    def rule(
        p: Value, g: Value, momentum_buffer: Value, *, lr: Value, kappa: Value, xi: Value, small_const: Value
    ) -> tuple[Value, ...]:
        """The update above."""
        if not lr:
            return p, momentum_buffer
        b = square(small_const) * xi / kappa
        momentum_buffer = lerp(momentum_buffer, p - lr * kappa / small_const * g, b)
        return lerp(p - lr * g, momentum_buffer, b / (small_const + b)), momentum_buffer
