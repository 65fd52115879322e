"""Corrected weight decay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from optim_core.errors import WrapperConflict
from optim_core.methods import hyper
from optim_core.rules import Inner, Value
from optim_core_wrappers.cautious_weight_decay import ChangesDecay


class CorrectedWeightDecay(ChangesDecay):
    """Lets the base's decoupled weight decay fall with the square of a scheduled lr, instead of with lr.

    ::

        p = p (1 - weight_decay lr^2 / max_lr)          instead of lr

    For weights in front of a normalisation layer ordinary decay and step balance at a gradient norm that grows as lr
    falls; with this they do so at one and the same norm throughout. With a constant lr nothing changes. The paper
    corrects such weights only, timm all that decay: put others into an optimizer of their own, or use ``adamc``, whose
    groups say it (``normalized``). max_lr is by default the lr that the base was built with, which therefore has to be
    the peak of the schedule; it is part of the state dict.

    Raises:
        WrapperConflict: the base's decay is L2, or part of its rule; or it was built with lr = 0.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = CorrectedWeightDecay(torch.optim.AdamW([weight], lr=0.1, weight_decay=0.5))
        >>> optimizer.param_groups[0]["lr"] = 0.05
        >>> _ = optimizer.minimize(lambda: 0 * weight.sum())
        >>> round(weight.item(), 4)  # 0.5 * 0.05 * 0.5
        0.9875

    Source: Defazio, Why Gradients Rapidly Increase Near the End of Training, 2025, https://arxiv.org/abs/2506.02285,
    Algorithm 1 (AdamC).
    """

    elementwise: ClassVar[bool] = True
    of_base: ClassVar[tuple[str, ...]] = ("lr",)

    corrected_weight_decay: bool = hyper(True, "let decay fall with lr^2 / max_lr")
    max_lr: float | None = hyper(None, "the largest lr of the schedule; None: the base's at first", gt=0)

    def on_wrap(self) -> None:
        """Keep the largest lr.

        Raises:
            WrapperConflict: it is 0, or not there.
        """
        given = self.options["max_lr"]
        largest = given if given is not None else self.defaults.get("lr")
        if not largest:
            raise WrapperConflict(f"{self.method.name}: the base has lr={largest!r}: give the largest lr, max_lr=...")
        self.counters["max_lr"] = float(largest)
        super().on_wrap()

    def numbers(self) -> Mapping[str, float]:
        """The largest lr."""
        return {"max_lr": float(self.counters["max_lr"])}

    @staticmethod
    def rule(p: Value, g: Value, inner: Inner, *, lr: Value, corrected_weight_decay: bool, max_lr: Value) -> Value:
        """The update above."""
        moved = inner(p, g)
        if not corrected_weight_decay or moved.start is p:
            return moved.p
        return p - (p - moved.start) * (lr / max_lr) - moved.update
