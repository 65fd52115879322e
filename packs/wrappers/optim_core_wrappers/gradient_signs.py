"""Gradient signs."""

from __future__ import annotations

from optim_core.rules import Inner, Value, maximum, sign
from optim_core.wrapping import RuleWrapper


class GradientSigns(RuleWrapper):
    """Takes the size of each element's step from the base, and its direction from the present gradient.

    With u the base's update and g the gradient: p = p - sign(g) |u|. Decoupled weight decay is left as it is, an L2
    term of the base is part of u, not of g. An element without a gradient stands still, whatever the base's momentum.
    Around an Adam this is Grams, which ``optim_core.get("grams")`` has in its authors' form.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> optimizer = GradientSigns(torch.optim.SGD([weight], lr=1.0, momentum=0.9))
        >>> _ = optimizer.minimize(lambda: (weight * torch.tensor([1.0, 1.0])).sum())
        >>> _ = optimizer.minimize(lambda: (weight * torch.tensor([1.0, -0.5])).sum())
        >>> [round(x, 3) for x in weight.tolist()]  # momentum would have moved the second one by -0.4
        [-2.9, -0.6]

    Source: Cao, Li and Song, Grams: Gradient Descent with Adaptive Momentum Scaling, 2024,
    https://arxiv.org/abs/2412.17107, Definition 5.
    """

    @staticmethod
    def rule(p: Value, g: Value, inner: Inner) -> Value:
        """The update above."""
        moved = inner(p, g)
        u = moved.update
        return moved.start - sign(moved.gradient) * maximum(u, -u)
