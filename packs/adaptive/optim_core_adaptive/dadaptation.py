"""The common part of D-Adaptation and Prodigy: one step size d*lr for the whole model."""

from __future__ import annotations

from typing import Any

from optim_core import RuleOptimizer
from optim_core.errors import InvalidOption
from optim_core.rules import Value


class OneStepSize(RuleOptimizer):
    """Base of methods whose groups all have one lr, or 0, which freezes a group.

    Raises:
        InvalidOption: at construction, and in a step, if two groups have different lr and neither is 0.
    """

    def on_group(self, group: dict[str, Any]) -> None:
        """Refuse a group with another lr."""
        super().on_group(group)
        lrs = [float(g["lr"]) for g in self.param_groups if g["lr"]]
        for lr in lrs:
            check_one_lr(self.method.name, lr, max(lrs))


def check_one_lr(name: str, lr: Value | float, largest_lr: Value | float) -> None:
    """Refuse groups with different lr; 0 is allowed, and freezes a group.

    Raises:
        InvalidOption: with the remedy.
    """
    if 0 < lr < largest_lr:
        raise InvalidOption(f"{name} has one step size: give all groups lr={float(largest_lr):g}, or 0 to freeze one")
