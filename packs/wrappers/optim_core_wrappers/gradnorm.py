"""Gradient normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from optim_core.methods import hyper
from optim_core.rules import Over, Transform, Value, centred, maximum, norm, size, sqrt, where
from optim_core.wrapping import TransformWrapper
from optim_core_wrappers.gc import Centralise


@dataclass(frozen=True)
class Normalise(Transform):
    """g / (s + eps), s the sample deviation of g."""

    use_channels: bool
    eps: float
    gc: bool

    def gradient(self, g: Value, p: Value) -> Value:
        """The normalised gradient; single numbers, and pairs where the tensor is the unit, are left alone."""
        if self.gc:
            g = Centralise(conv_only=False, of_gradient=True).gradient(g, p)
        by_rows = self.use_channels and p.ndim > 1 and p.row_size > 1
        over: Over = "row" if by_rows else "tensor"
        n = size(g, over)
        s = norm(centred(g, over), over) / sqrt(maximum(n - 1, 1))
        return where(n > (1 if by_rows else 2), g / (s + self.eps), g)


class GradientNormalization(TransformWrapper):
    """Divides each tensor's gradient by its standard deviation.

    With s the sample deviation (divisor n - 1) of the tensor's gradient, or with ``use_channels`` of each index of
    dimension 0 where there are two dimensions or more::

        g = g / (s + eps)

    The mean is taken out of s only; ``gc=True`` centralises g first, as Ranger21 does. Tensors of one or two elements
    keep their scale. A gradient that is constant over the tensor has s = 0 and is divided by eps. Weight decay comes
    after. With SGD the learning rate has to shrink: every step is about lr an element. Not the multi-task GradNorm.
    Ranger21 gives NaN for channels of a single weight; here such a tensor is one unit.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.zeros(3))
        >>> optimizer = GradientNormalization(torch.optim.SGD([weight], lr=1.0))
        >>> _ = optimizer.minimize(lambda: (weight * torch.tensor([-20.0, 0.0, 20.0])).sum())
        >>> [round(x, 3) for x in weight.tolist()]
        [1.0, 0.0, -1.0]

    Source: Wright and Demeure, Ranger21: a synergistic deep learning optimizer, 2021, https://arxiv.org/abs/2106.13731;
    the deviation from the authors' code.
    """

    real_only: ClassVar[bool] = True

    use_channels: bool = hyper(False, "a deviation for each index of dimension 0 instead of one for each tensor")
    eps: float = hyper(1e-8, "added to the deviation", gt=0)
    gc: bool = hyper(False, "centralise the gradient first")

    def transform(self) -> Transform:
        """The transform that the options describe."""
        return Normalise(self.options["use_channels"], self.options["eps"], self.options["gc"])
