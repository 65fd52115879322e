"""The lr that a group had when it was added, for options that are meant for it."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any


def with_first_lr(options: dict[str, Any], given: AbstractSet[str], name: str = "base_lr") -> dict[str, Any]:
    """The options, with the group's lr for an option of this name that is None or not given."""
    if name in given and options[name] is not None:
        return options
    return options | {name: float(options["lr"])}
