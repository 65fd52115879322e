"""The common part of D-Adaptation and Prodigy: one step size d*lr for the whole model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from optim_core import RuleOptimizer, hyper
from optim_core.errors import InvalidOption
from optim_core.rules import Value


class OneLr(RuleOptimizer):
    """Base of methods whose groups all have one lr, or 0, which freezes a group.

    Raises:
        InvalidOption: at construction, and in a step, if two groups have different lr and neither is 0.
    """

    def on_group(self, group: dict[str, Any]) -> None:
        """Refuse a group with another lr."""
        super().on_group(group)
        lrs = [float(g["lr"]) for g in self.param_groups if g["lr"] and not g.get("split_groups")]
        for lr in lrs:
            check_one_lr(self.method.name, lr, max(lrs), split="split_groups" in self.hypers)


class OneStepSize(OneLr):
    """Base of methods that find one step size d for all groups, unless groups are split.

    Each group shows them: ``group["d"]``, and ``group["d_lr"]``, the step size d lr layer_scale that the next step has
    if nothing changes lr before it (0-d tensors, so that showing them makes no device wait).
    """

    by_group = "split_groups"

    split_groups: bool = hyper(False, "find d for each group by itself; then lr may differ, too", common=True)
    layer_scale: float = hyper(1.0, "step size of the group, as a share of the one found", gt=0)

    def on_group(self, group: dict[str, Any]) -> None:
        """Show them from the first."""
        super().on_group(group)
        _show(group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """As every step; then shows the step size."""
        loss = super().step(closure)
        for group in self.param_groups:
            _show(group)
        return loss


def _show(group: dict[str, Any]) -> None:
    group["d_lr"] = group["d"] * group["lr"] * group["layer_scale"]


def check_one_lr(name: str, lr: Value | float, largest_lr: Value | float, *, split: bool = True) -> None:
    """Refuse groups with different lr; 0 is allowed, and freezes a group.

    Args:
        split: the method has ``split_groups``.

    Raises:
        InvalidOption: with the remedy.
    """
    if 0 < lr < largest_lr:
        more = (
            "; for a smaller step in one give it a layer_scale, or each group its own step size with split_groups=True"
        )
        raise InvalidOption(
            f"{name} has one step size: give all groups lr={float(largest_lr):g}, or 0 to freeze one{more * split}"
        )
