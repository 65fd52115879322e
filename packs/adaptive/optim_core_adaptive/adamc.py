"""AdamC."""

from __future__ import annotations

from typing import Any

from optim_core import decoupled, hyper
from optim_core.methods import around
from optim_core_adaptive.adamw import AdamW


class AdamC(AdamW):
    """AdamW whose decay falls with the square of a scheduled lr, for weights in front of a normalisation layer.

    Composed of :class:`AdamW` and the wrapper ``corrected_weight_decay``::

        p = p (1 - weight_decay lr^2 / max_lr)      in groups with normalized=True; elsewhere lr, as in AdamW

    then Adam's step. "normalized" are weights whose output is normalised, linear and convolutional ones in front of
    a batch or layer norm, and not the gains and biases of that layer. With a constant lr it is AdamW. max_lr is the
    peak of the schedule: by default the lr that the group was built with. timm has this for all weights that decay, as
    ``corrected_weight_decay`` of many methods.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = AdamC([w], lr=0.1, weight_decay=0.5, normalized=True)
        >>> optimizer.param_groups[0]["lr"] = 0.05
        >>> loss = optimizer.minimize(lambda: w.square().sum())
        >>> [round(x, 4) for x in w.tolist()]  # 0.05 from the step, and 0.5 * 0.05 * 0.5 of w
        [0.9375, -1.925]

    Source: Defazio, Why Gradients Rapidly Increase Near the End of Training, 2025, Algorithm 1,
    https://arxiv.org/abs/2506.02285.
    """

    around = (around("corrected_weight_decay", {"corrected_weight_decay": "normalized"}),)

    weight_decay: float = decoupled(0.0)
    normalized: bool = hyper(False, "the group's weights are in front of a normalisation layer")
    max_lr: float | None = hyper(None, "the largest lr of the schedule; None: the group's at first", ge=0)

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """The largest lr of a group that does not give it."""
        options = super().resolve(options, given)
        unsettled = options["max_lr"] is None or ("lr" in given and "max_lr" not in given)
        return options | ({"max_lr": float(options["lr"]) or 1.0} if unsettled else {})
