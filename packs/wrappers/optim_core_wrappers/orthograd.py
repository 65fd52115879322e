"""OrthoGrad."""

from __future__ import annotations

from typing import Any

import torch

from optim_core.methods import Part, compute_dtype, hyper
from optim_core.rules import Inner, Value, dot, maximum, norm, where
from optim_core.wrapping import RuleWrapper


class OrthoGrad(RuleWrapper):
    """Takes from each tensor's gradient what goes along its weights, and gives the rest the norm of the whole.

    ::

        q = g - <w, g> / (<w, w> + eps) w
        g = q |g| / max(|q|, floor)          0 where |q| <= parallel |g|

    So training cannot lower the loss by scaling logits up, which is what keeps networks from grokking. What remains of
    a gradient parallel to the weights is rounding, which the authors' code enlarges to the norm of the gradient, in a
    random direction; tensors of one element, a gain for one, always are such a case. Here they stand still. A base's
    L2 comes after the projection; decay that is part of the loss is projected away. Norms grow: w stays on its sphere
    only to first order. Weights of zero take the gradient as it is.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0, 0.0]))
        >>> optimizer = OrthoGrad(torch.optim.SGD([weight], lr=1.0))
        >>> _ = optimizer.minimize(lambda: (weight * torch.tensor([3.0, 4.0])).sum())
        >>> weight.tolist()  # the whole norm of 5 at right angles
        [1.0, -5.0]

    Source: Prieto et al., Grokking at the Edge of Numerical Stability, 2025, https://arxiv.org/abs/2501.04697,
    Algorithm 1; parallel gradients apart, as in the authors' code.
    """

    eps: float = hyper(1e-30, "added to the squared norm of the weights", ge=0)
    floor: float = hyper(1e-30, "lower bound of the norm of what remains", gt=0)
    parallel: float | None = hyper(
        None, "share of the gradient's norm below which the rest is rounding; None: 4 times the type's epsilon", ge=0
    )

    def transform(self) -> Part:
        """The rule, with the epsilon of the parameters' type."""
        types = {compute_dtype(p) for group in self.param_groups for p in group["params"]}
        return self.part(parallel=4 * max(torch.finfo(of_type).eps for of_type in types) if types else 0.0)

    @staticmethod
    def rule(p: Value, g: Value, inner: Inner, *, eps: float, floor: float, parallel: float) -> Any:
        """The update above."""
        q = g - dot(p, g) / (dot(p, p) + eps) * p
        whole, rest = norm(g), norm(q)
        return inner(p, q * where(rest > parallel * whole, whole / maximum(rest, floor), 0.0)).p
