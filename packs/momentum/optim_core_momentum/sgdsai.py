"""SGD-SaI."""

from __future__ import annotations

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core.rules import Value, centred, gain, lerp, norm, size, sqrt, where


class SGDSaI(RuleOptimizer):
    """SGD with momentum whose learning rates are scaled at initialisation: tensor by tensor, by the first gradient.

    In a tensor's first step, std being the standard deviation (by n - 1) of the elements of g::

        r = |g| / (std(g) + eps)         |g| where std is 0 or undefined;  sqrt(n) where g is 0

    and in every step::

        b = g in the first step, later  b = momentum b + (1 - momentum) g
        p = p (1 - lr weight_decay) - lr r b

    r, the signal-to-noise ratio of the gradient, is about sqrt(n) where the mean of g is small. **The first batch
    decides for the whole run**: take a large one. The authors' code divides by eps where std is 0 or n is 1, and leaves
    a tensor alone for ever whose first gradient is 0 (of LoRA's two matrices one); sqrt(n) is what noise around 0 has.
    There momentum=0 raises, and scalings are not saved. pytorch-optimizer begins the buffer at 0.

    Raises:
        UnsupportedParameter: a parameter is complex.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -1.0]))
        >>> loss = SGDSaI([w], lr=0.25, weight_decay=0.0).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]  # g = (2, -2), r = 1
        [0.5, -0.5]

    Source: Xu, Yuan, Shen and Zhang, No More Adam: Learning Rate Scaling at Initialization is All You Need, 2024,
    Algorithm 1, https://arxiv.org/abs/2412.11768.
    """

    lr: float = hyper(1e-2, "step size, times r", ge=0, search=(1e-4, 1e-1))
    momentum: float = hyper(0.9, "decay of the average of g; 0 for none", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the standard deviation", ge=0)
    weight_decay: float = decoupled(1e-2)

    momentum_buffer = state("average of g", when="momentum")
    gsnr = state("r", level="tensor")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value,
        gsnr: Value,
        *,
        lr: Value,
        momentum: Value,
        eps: Value,
        first: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        if first:
            n, length, spread = size(g), norm(g), norm(centred(g))
            std = spread / sqrt(where(n > 1, n - 1, 1.0))
            gsnr = where(length > 0, where(spread > 0, length / (std + eps), length), sqrt(n))
        if not momentum:
            return p - lr * gain(gsnr * g, gsnr), momentum_buffer, gsnr
        momentum_buffer = g if first else lerp(g, momentum_buffer, momentum)
        return p - lr * gain(gsnr * momentum_buffer, gsnr), momentum_buffer, gsnr
