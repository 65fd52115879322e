"""GraphCache: traced graphs, found again by the numbers and shapes that they hold for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

from optim_core.rules.graph import Graph

Traced = TypeVar("Traced")

#: How many are kept for a key: a rule may branch on a number that differs at every step.
_LIMIT = 64


def graph_fits(graph: Graph, host: Mapping[str, float], shape: Sequence[int]) -> bool:
    """Return whether the decisions that a graph rests on hold for these host numbers and this shape."""
    return graph.trace.holds(host) and graph.trace.fits(shape)


class GraphCache(Generic[Traced]):
    """Graphs by key and by the decisions taken while they were traced.

    Args:
        fits: returns whether a cached object serves for host numbers and a shape.
    """

    def __init__(self, fits: Callable[[Traced, Mapping[str, float], Sequence[int]], bool]) -> None:
        self._fits = fits
        self._cached: dict[Hashable, list[Traced]] = defaultdict(list)

    def get(
        self, key: Hashable, host: Mapping[str, float], shape: Sequence[int], trace: Callable[[], Traced]
    ) -> Traced:
        """The object cached under a key that fits, or a new one from ``trace``."""
        cached = self._cached[key]
        for candidate in cached:
            if self._fits(candidate, host, shape):
                return candidate
        cached.append(trace())
        del cached[:-_LIMIT]
        return cached[-1]
