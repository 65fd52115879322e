"""What an engine is given: parameters that share one graph and one set of host numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from optim_core.rules.graph import Graph
from optim_core.rules.values import Value


@dataclass(eq=False)
class Bucket:
    """Parameters that share one graph and one set of host numbers; it may serve for many steps.

    Attributes:
        graph: what to compute.
        host: the numbers behind the graph's HOST inputs.
        buffers: one tensor for each parameter, by buffer name (``p``, ``g``, states).
        dtype: the type to compute in; parameters and gradients of another type are converted on the way.
        engine: the name of the engine that runs it.
        reason: why that one.
        addresses: for engines that work on memory, where each buffer's tensors lie.
        tables: what the engine has prepared for these tensors, by keys of its own.
    """

    graph: Graph
    host: Mapping[str, float]
    buffers: Mapping[str, Sequence[Tensor]]
    dtype: torch.dtype
    engine: str = "eager"
    reason: str = ""
    addresses: dict[str, list[int]] = field(default_factory=dict, repr=False)
    tables: dict[Any, Any] = field(default_factory=dict, repr=False)

    def locate(self, name: str) -> list[int]:
        """Where each of a buffer's tensors lies."""
        if name not in self.addresses:
            self.addresses[name] = list(map(Tensor.data_ptr, self.buffers[name]))
        return self.addresses[name]

    @property
    def device(self) -> torch.device:
        """Where the bucket's parameters are."""
        return self.buffers["p"][0].device


class Run(Protocol):
    """One bucket on its way through a step, in the hands of an engine."""

    bucket: Bucket

    def sums(self, together: tuple[int, ...]) -> Sequence[Tensor | float]:
        """This bucket's part of each total of a pass."""

    def know(self, together: tuple[int, ...], totals: Sequence[Tensor | float]) -> None:
        """Take in the totals of a pass, which are over all buckets."""

    def value(self, shared: Value) -> Tensor | float:
        """A value that all parameters share, once all totals are known."""

    def update(self) -> None:
        """Compute and write the new values."""
