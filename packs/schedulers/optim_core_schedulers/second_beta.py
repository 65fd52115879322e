"""beta2 of a parameter group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optim_core.errors import InvalidOption


def second_beta(group: Mapping[str, Any], reader: str, remedy: str) -> float:
    """The decay of the second moment.

    Raises:
        InvalidOption: the group has no betas.
    """
    betas = group.get("betas")
    if not isinstance(betas, (list, tuple)) or len(betas) < 2:
        raise InvalidOption(
            f"{reader} takes its length from beta2, the second of a parameter group's betas as Adam and its relatives "
            f"have them, but a group has betas={betas!r}: {remedy}"
        )
    return float(betas[1])
