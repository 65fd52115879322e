"""TRAC."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from optim_core.methods import hyper
from optim_core_wrappers.tuned import Tuned, inner


class TRAC(Tuned):
    r"""Scales all that the base has done since the start, so that training that goes on for ever stays near its start.

    The base proposes d = w' - w. With w_0 the first weights, one scale s_j for each discount beta_j, and S their sum::

        D = (w - w_0)/(S + eps);   h = sum over all parameters of <D, g>
        V_j = beta_j^2 V_j + h^2;   sigma_j = beta_j sigma_j - h
        s_j = s_prev erfi(sigma_j/(sqrt(2 V_j) + eps))/erfi(1/sqrt(2))
        w = w_0 + (D + d) max(S, 0)

    The scale begins near 6e-8 and grows exponentially where steps agree: for a while nothing seems to move, in float32
    nothing does. Once S is 0 or less the weights are back at w_0 for good, a limit of the method. The authors' erfi is
    an approximation, 1 % off by a slip in its table; this one is exact. Its argument is capped at 26, where the number
    range ends. The scale is one for the model, and needs the host to wait for one number a step.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
        >>> optimizer = TRAC(torch.optim.SGD([weight], lr=0.1), s_prev=0.1)
        >>> losses = [float(optimizer.minimize(lambda: weight.square().sum())) for _ in range(60)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Muppidi, Zhang and Yang, Fast TRAC: A Parameter-Free Optimizer for Lifelong Reinforcement Learning, 2024,
    Algorithms 1 and 2, https://arxiv.org/abs/2405.16642.
    """

    s_prev: float = hyper(1e-8, "scale to begin with", gt=0)

    def begin_tuners(self) -> dict[str, list[float]]:
        """No scale yet, and a first bit of evidence that there is one."""
        n = len(self.options["betas"])
        return {"s": [0.0] * n, "variance": [0.0] * n, "sigma": [1e-8] * n}

    def tuned_step(self, params: Sequence[Tensor]) -> None:
        """The formulas above."""
        old, eps = self.scale, self.options["eps"]
        summed = [self.moved(p, old) for p in params]
        h = inner((x, p.grad) for x, p in zip(summed, params, strict=True) if p.grad is not None)
        before = [p.detach().clone() for p in params]
        super(Tuned, self).apply()
        betas = self.options["betas"]
        variance = [b * b * v + h * h for b, v in zip(betas, self.tuners["variance"], strict=True)]
        sigma = [b * x - h for b, x in zip(betas, self.tuners["sigma"], strict=True)]
        share = self.options["s_prev"] / erfi(1 / math.sqrt(2))
        s = [share * erfi(x / (math.sqrt(2 * v) + eps)) for x, v in zip(sigma, variance, strict=True)]
        for name, values in (("s", s), ("variance", variance), ("sigma", sigma)):
            self.tuners[name] = values
        for p, x, w in zip(params, summed, before, strict=True):
            self.place(p, x + (p.detach() - w), max(self.scale, 0.0))


def erfi(x: float) -> float:
    """The imaginary error function, 2/sqrt(pi) times the integral of exp(u^2) from 0 to x, by its series.

    Example:
        >>> round(erfi(0.5), 12), erfi(-1.0) == -erfi(1.0)
        (0.614952094697, True)
    """
    x = min(26.0, max(-26.0, x))
    power, value, k = x, 0.0, 0
    while True:  # all terms have one sign, so nothing cancels
        term = power / (2 * k + 1)
        value += term
        if abs(term) <= 1e-17 * abs(value):
            return 2 / math.sqrt(math.pi) * value
        k += 1
        power *= x * x / k
