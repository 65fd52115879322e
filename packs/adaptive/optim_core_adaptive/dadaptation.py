"""What D-Adaptation and Prodigy have in common: one step size d*lr for the whole model."""

from __future__ import annotations

from optim_core.errors import InvalidOption
from optim_core.rules import Value


def check_one_lr(name: str, lr: Value, largest_lr: Value) -> None:
    """Refuse groups with different lr; 0 is allowed, and freezes a group.

    Raises:
        InvalidOption: with the remedy.
    """
    if 0 < lr < largest_lr:
        raise InvalidOption(f"{name} has one step size: give all groups lr={float(largest_lr):g}, or 0 to freeze one")
