"""Gradient centralisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from optim_core.methods import hyper
from optim_core.rules import Transform, Value, centred
from optim_core.wrapping import TransformWrapper


@dataclass(frozen=True)
class Centralise(Transform):
    """phi(x) = x - mean of x over each output unit; of the gradient, or of the update."""

    after_l2: ClassVar[bool] = True

    conv_only: bool
    of_gradient: bool

    def gradient(self, g: Value, p: Value) -> Value:
        """phi(g)."""
        return self._phi(g, p) if self.of_gradient else g

    def update(self, u: Value, g: Value, p: Value) -> Value:
        """phi(u)."""
        del g
        return u if self.of_gradient else self._phi(u, p)

    def _phi(self, x: Value, p: Value) -> Value:
        if p.ndim <= (3 if self.conv_only else 1) or p.row_size == 1:
            return x
        return centred(x, over="row")


class GradientCentralization(TransformWrapper):
    r"""Removes from each output unit's gradient its mean, for weights of more than one dimension.

    .. math:: \phi(g)_i = g_i - \operatorname{mean}(g_i), \quad i \text{ an index of dimension 0}

    With L2 in the base the mean of ``g + weight_decay * p`` is removed, as in the authors' SGD and Adam; torch's own
    optimizers, and those of other libraries, add their L2 after the centralisation. Units of a single weight, which
    the authors' code freezes at zero gradient, are left alone. For embeddings and transposed convolutions dimension 0
    is not an output unit: keep them in an optimizer of their own if that matters. The paper centralises the gradient;
    the authors' Adam has ``gc_loc=False`` as its default, which centralises the update.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.zeros(1, 2))
        >>> optimizer = GradientCentralization(torch.optim.SGD([weight], lr=1.0))
        >>> _ = optimizer.minimize(lambda: (weight * torch.tensor([[1.0, 3.0]])).sum())
        >>> weight.tolist()
        [[1.0, -1.0]]

    Source: Yong et al., Gradient Centralization: A New Optimization Technique for Deep Neural Networks, 2020,
    https://arxiv.org/abs/2004.01461, equation 1.
    """

    real_only: ClassVar[bool] = True

    gc_conv_only: bool = hyper(False, "only weights of more than 3 dimensions (2-d and 3-d convolutions)")
    gc_loc: bool = hyper(True, "centralise the gradient; False: the update, after the base has scaled it")

    def transform(self) -> Transform:
        """The transform that the options describe."""
        return Centralise(self.options["gc_conv_only"], self.options["gc_loc"])
