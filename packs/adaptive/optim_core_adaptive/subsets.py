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


def divisors(numel: int) -> list[int]:
    """The numbers of equal blocks that elements can be cut into, in order.

    Example:
        >>> divisors(12)
        [1, 2, 3, 4, 6, 12]
    """
    small = [k for k in range(1, math.isqrt(numel) + 1) if numel % k == 0]
    return small + [numel // k for k in reversed(small) if k * k != numel]


def scaled_blocks(numel: int) -> int:
    """The most blocks with a scale each that Gefen cuts elements into, whatever period it finds.

    Example:
        >>> [scaled_blocks(numel) for numel in (1, 256, 512, 108, 257, 36, 45)]
        [1, 16, 32, 12, 257, 4, 5]
    """
    least = next((k for k in divisors(numel) if 8 < k <= numel // 4), numel)
    return max(numel // least, numel // subset_length(numel, 256))
