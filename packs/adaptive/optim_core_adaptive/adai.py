"""Adai."""

from __future__ import annotations

from typing import Any

from optim_core import RuleOptimizer, hyper, l2, state
from optim_core.errors import InvalidOption
from optim_core.rules import Value, clamp, gain, lerp, maximum, size, square, total

#: Under the mean, so that gradients that are all 0 divide by something; float32 can just hold it.
SMALLEST_MEAN = 1e-37


class Adai(RuleOptimizer):
    """Momentum SGD whose momentum, not its step size, is fitted to each element: less of it where gradients are large.

    M is the mean over all elements of the model, of all groups; P is the product of all b so far::

        v = beta2 v + (1 - beta2) g^2
        w = v / (1 - beta2^t)
        b = 1 - beta0 w / mean(w),  at least 0 and at most 1 - eps
        m = b m + (1 - b) g
        p = p - lr m / (1 - P)

    A step is as long as a gradient, and the first one is that of SGD: take SGD's lr without momentum, or ten times that
    with momentum 0.9, and SGD's weight_decay. eps limits the momentum; it is not a term of a denominator. While every
    gradient has been 0 nothing moves; the authors' code gives NaN there, and a port that keeps the mean above eps
    strays once the mean square falls below.

    AdaiW, with decoupled decay, is decoupled_weight_decay=True; :class:`AdaiV2` with its defaults is the same. The
    authors give no default for lr.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = Adai([w], lr=0.25).minimize(lambda: w.square().sum())
        >>> w.tolist()
        [0.5, -1.0]

    Source: Xie et al., Adaptive Inertia: Disentangling the Effects of Adaptive Learning Rate and Momentum, 2020,
    https://arxiv.org/abs/2006.15815.
    """

    lr: float = hyper(0.1, "step size, of SGD's order", ge=0, search=(1e-2, 3.0))
    betas: tuple[float, float] = hyper((0.1, 0.99), "beta0, strength of the fitting; decay of v, < 1", ge=0)
    eps: float = hyper(1e-3, "the momentum stays at or below 1 - eps", gt=0, le=1)
    weight_decay: float = l2(0.0)
    decoupled_weight_decay: bool = hyper(False, "shrink p by 1 - lr*weight_decay instead of adding to g (AdaiW)")

    exp_avg = state("average of g")
    exp_avg_sq = state("average of g squared")
    beta1_prod = state("product of all momenta so far", start=1.0)

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """Refuse an average that would not decay."""
        del given
        if options["betas"][1] >= 1:
            raise InvalidOption(f"{cls.__name__}: betas={options['betas']}: the second must be < 1, it is a decay")
        return options

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        beta1_prod: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta0, beta2 = betas
        exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
        w = exp_avg_sq / (1 - beta2**step)
        mean = maximum(total(w) / total(size(p)), SMALLEST_MEAN)
        beta1 = clamp(1 - beta0 * w / mean, 0.0, 1 - eps)
        beta1_prod = beta1_prod * beta1
        exp_avg = lerp(g, exp_avg, beta1)
        return p - gain(lr, 1.0) * exp_avg / (1 - beta1_prod), exp_avg, exp_avg_sq, beta1_prod
