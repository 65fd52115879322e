"""FAdam."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, denominator, lerp, maximum, mean, sqrt, square
from optim_core_adaptive.debiasing import debiased


class FAdam(RuleOptimizer):
    """Adam as natural gradient descent: gradient and decay are both divided by the Fisher diagonal, then clipped.

    RMS(x) is the root mean square of a whole tensor, and beta2' = beta2 (1 - beta2^(t-1)) / (1 - beta2^t)::

        F = beta2' F + (1 - beta2') g^2
        B = F^power + eps max(1, RMS(g))
        n = g / B;  n = n clip / max(1, RMS(n))
        m = beta1 m + (1 - beta1) n
        q = p / B;  q = q clip / max(1, RMS(q))
        p = p - lr (m + weight_decay q)

    m is not corrected. power is the option p of the reference, whose name is the parameter's here. clip multiplies also
    what is within bounds, as in the reference; the paper is understood, and ported elsewhere, to clip only what is
    beyond. The decay does not go by the size of p: where F is small it is at full clip, even without any gradient.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = FAdam([w], lr=0.1, weight_decay=0).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.99, -1.99]

    Source: Hwang, FAdam: Adam is a natural gradient optimizer using diagonal empirical Fisher information, 2024,
    Algorithm 1, https://arxiv.org/abs/2405.12807; clipping and eps as in lessw2020/FAdam_PyTorch, whose author is
    another.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of n and of g squared", ge=0, lt=1)
    clip: float = hyper(1.0, "largest RMS of the natural gradient and of the decay, and their factor", gt=0)
    power: float = hyper(0.5, "power of the Fisher diagonal", ge=0)
    eps: float = hyper(1e-8, "added to it, times RMS(g) if that is above 1", gt=0)
    weight_decay: float = hyper(0.1, "weight of the decay's direction, times lr", ge=0)

    momentum = state("average of natural gradients")
    fim = state("F, the corrected average of g squared", start=1.0)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum: Value,
        fim: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        clip: Value,
        power: Value,
        eps: Value,
        weight_decay: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        fim = lerp(square(g), fim, debiased(betas[1], step))
        bare = fim**power
        B = denominator(bare + eps * maximum(1.0, _rms(g)), bare=bare)
        momentum = lerp(_clipped(g / B, clip), momentum, betas[0])
        direction = momentum + weight_decay * _clipped(p / B, clip) if weight_decay else momentum
        return p - lr * direction, momentum, fim


def _clipped(x: Value, clip: Value) -> Value:
    return x * (clip / maximum(1.0, _rms(x)))


def _rms(x: Value) -> Value:
    """The root mean square."""
    return sqrt(mean(square(x)))
