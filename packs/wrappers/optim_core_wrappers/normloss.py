"""Norm loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optim_core.methods import hyper
from optim_core.rules import Transform, Value, norm
from optim_core.wrapping import TransformWrapper


@dataclass(frozen=True)
class UnitNorm(Transform):
    """p, its units a little nearer to norm one."""

    factor: float
    eps: float
    matrices_only: bool

    def parameter(self, p: Value, options: Mapping[str, Any]) -> Value:
        """p (1 - 2 lr factor (1 - 1 / (N(p) + eps)))."""
        if self.matrices_only and p.ndim <= 1:
            return p
        n = norm(p, over="row" if p.ndim > 1 else "tensor")
        lr: Value = options["lr"]
        return p * (1 - 2 * lr * self.factor * (1 - 1 / (n + self.eps)))


class NormLoss(TransformWrapper):
    """Pulls the norm of each output unit's weights towards one, instead of weight decay's zero.

    The gradient of ``factor (1 - N(p))^2``, summed over units, applied to the weights themselves before the base's
    step, with N(p) the norm of each index of dimension 0, or of the whole tensor if it has one dimension or none::

        p = p (1 - 2 lr factor (1 - 1 / (N(p) + eps)))

    The paper adds the loss to the objective, so that it passes through the optimizer's averages; this is the decoupled
    form of Ranger21, whose code regularises one parameter of all only, by a slip, and takes for 1-d convolutions a norm
    for each output and tap. Biases and gains are pulled too, tiny ones hard: ``matrices_only=True`` spares them, as the
    paper does. It is meant to replace weight decay, so set the base's to 0.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([[3.0, 4.0], [0.3, 0.4]]))
        >>> optimizer = NormLoss(torch.optim.SGD([weight], lr=0.1), factor=1.0)
        >>> _ = optimizer.minimize(lambda: 0 * weight.sum())
        >>> [round(x, 3) for x in weight.norm(dim=1).tolist()]
        [4.2, 0.6]

    Source: Georgiou et al., Norm Loss: An efficient yet effective regularization method for deep neural networks, 2021,
    https://arxiv.org/abs/2103.06583; decoupled as in Wright and Demeure, Ranger21, 2021,
    https://arxiv.org/abs/2106.13731.
    """

    factor: float = hyper(1e-4, "weight of the norm loss", ge=0, search=(1e-5, 1e-2))
    eps: float = hyper(1e-8, "added to the norm", gt=0)
    matrices_only: bool = hyper(False, "leave tensors of fewer than two dimensions alone")

    @property
    def uses_lr(self) -> bool:
        """The pull is in proportion to it."""
        return True

    def transform(self) -> Transform:
        """The transform that the options describe."""
        return UnitNorm(self.options["factor"], self.options["eps"], self.options["matrices_only"])
