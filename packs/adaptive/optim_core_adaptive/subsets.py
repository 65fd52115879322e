"""Subsets of elements that share a number; without torch."""

from __future__ import annotations

import math


def subset_length(numel: int, subset_size: int) -> int:
    """The number of elements that share a second moment: a divisor of their number, at most as many as asked for.

    Example:
        >>> [subset_length(48, size) for size in (12, 13, -1, -2, -100)]
        [12, 12, 6, 3, 1]
    """
    wanted = subset_size if subset_size > 0 else math.isqrt(numel) // -subset_size
    return next(k for k in range(max(1, min(wanted, numel)), 0, -1) if numel % k == 0)
