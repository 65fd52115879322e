"""Decoupled weight decay that a wrapper changes, and the first kind of it: cautious."""

from __future__ import annotations

from typing import Any, ClassVar

from optim_core.errors import WrapperConflict
from optim_core.methods import hyper
from optim_core.rules import Inner, Value, where
from optim_core.wrapping import RuleWrapper


class ChangesDecay(RuleWrapper):
    """A wrapper that changes the decoupled weight decay of its base."""

    def on_group(self, group: dict[str, Any]) -> None:
        """Refuse decay that goes through the gradient, or is part of the update.

        Raises:
            WrapperConflict: the group does not decay the parameter itself.
        """
        super().on_group(group)
        if group.get("weight_decay") and not self.decays(group):
            raise WrapperConflict(
                f"{self.method.name} changes decay that acts on the parameter itself, and that of "
                f"{type(self.innermost).__name__} does not, or not with these options: use a method with decoupled "
                "decay such as adamw, or give it weight_decay=0 and put WeightDecay around it"
            )


class CautiousWeightDecay(ChangesDecay):
    """Lets the base's decoupled weight decay act where the step shrinks the weight as well, and nowhere else.

    With u the base's update::

        p = p - lr weight_decay p - u    where the signs of p and u are the same
        p = p - u                        elsewhere

    So decay never works against the step, and the loss that is minimised is the one without decay. The mask goes by
    the update, not by the gradient, and is not rescaled.

    Raises:
        WrapperConflict: the base's decay is L2, or part of its rule.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0, 1.0]))
        >>> optimizer = CautiousWeightDecay(torch.optim.AdamW([weight], lr=0.1, weight_decay=0.5))
        >>> _ = optimizer.minimize(lambda: weight[0] - weight[1])
        >>> [round(x, 3) for x in weight.tolist()]
        [0.85, 1.1]

    Source: Chen et al., Cautious Weight Decay, 2025, https://arxiv.org/abs/2510.12402, Algorithm 1.
    """

    elementwise: ClassVar[bool] = True

    cautious_weight_decay: bool = hyper(True, "decay only where parameter and update have the same sign")

    @staticmethod
    def rule(p: Value, g: Value, inner: Inner, *, cautious_weight_decay: bool) -> Value:
        """The update above."""
        moved = inner(p, g)
        if not cautious_weight_decay or moved.start is p:
            return moved.p
        return where(p * moved.update > 0, moved.start, p) - moved.update
