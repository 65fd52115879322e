"""Gradient clipping."""

from __future__ import annotations

from dataclasses import dataclass

from optim_core.errors import InvalidOption
from optim_core.methods import hyper
from optim_core.rules import Transform, Value, clamp, minimum, sqrt, square, total
from optim_core.wrapping import TransformWrapper


@dataclass(frozen=True)
class Clip(Transform):
    """Bounds for each element of the gradient, then for the norm of all of it."""

    max_norm: float | None
    clip_value: float | None

    def gradient(self, g: Value, p: Value) -> Value:
        """The clipped gradient."""
        del p
        if self.clip_value is not None:
            g = clamp(g, -self.clip_value, self.clip_value)
        if self.max_norm is not None:
            g = g * minimum(1.0, self.max_norm / (sqrt(total(square(g))) + 1e-6))
        return g


class GradientClipping(TransformWrapper):
    """Keeps gradients within bounds: every element, the norm of all gradients, or both in this order.

    ::

        g = min(max(g, -clip_value), clip_value)
        g = g min(1, max_norm / (norm of all gradients + 1e-6))      (torch.nn.utils.clip_grad_norm_)

    The norm is over all parameters of all groups. Unlike torch's functions it leaves ``p.grad`` alone, and it acts
    inside the step, when GradScaler has unscaled the gradients already. The base's weight decay comes after it. With
    gradient accumulation or several workers it sees what the step sees: the sum or mean. A norm that is not finite
    makes the step so, as in torch. For complex numbers ``clip_value`` bounds the real and the imaginary part.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> optimizer = GradientClipping(torch.optim.SGD([weight], lr=1.0), max_norm=1.0)
        >>> _ = optimizer.minimize(lambda: (weight * torch.tensor([30.0, 40.0])).sum())
        >>> [round(x, 3) for x in weight.tolist()]
        [-0.6, -0.8]

    Source: Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks, 2012,
    https://arxiv.org/abs/1211.5063, Algorithm 1; the 1e-6 from torch.
    """

    max_norm: float | None = hyper(None, "largest norm of all gradients together", gt=0, search=(0.1, 10.0))
    clip_value: float | None = hyper(None, "largest magnitude of an element", gt=0, search=(0.01, 10.0))

    def on_wrap(self) -> None:
        """Refuse to do nothing.

        Raises:
            InvalidOption: no bound is given.
        """
        if self.options["max_norm"] is None and self.options["clip_value"] is None:
            raise InvalidOption(
                "GradientClipping has no bound: give it max_norm (for the norm of all gradients together, often 1.0), "
                "clip_value (for every element), or both"
            )
        super().on_wrap()

    def transform(self) -> Transform:
        """The transform that the options describe."""
        return Clip(self.options["max_norm"], self.options["clip_value"])
