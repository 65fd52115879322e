"""The length of the warm-up in Ranger21."""

from __future__ import annotations

import math


def warmup_length(beta2: float, total_steps: int) -> int:
    """ceil(2/(1 - beta2)), or int(0.22 T) where that is more than 0.45 T = 0.45 total_steps; at least 1.

    Example:
        >>> warmup_length(0.9, 100), warmup_length(0.95, 50)
        (21, 11)
    """
    untuned = math.ceil(2 / (1 - beta2))
    return max(1, untuned if untuned <= 0.45 * total_steps else int(0.22 * total_steps))
