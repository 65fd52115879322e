"""A bucket, which is what an engine works on, and a run, which is what the engine makes of it in a step."""

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
        buffers: one tensor per parameter, by buffer name (``p``, ``g``, states).
        dtype: the type to compute in; parameters and gradients of another type are converted on the way.
        engine: the name of the engine that runs it.
        reason: why that one.
        foreach: for the eager engine, True for lists of tensors, False for tensor by tensor, None to choose by size and
            device.
        addresses: where each buffer's tensors lie, as far as an engine has asked.
        tables: what the engine has prepared for these tensors (see :func:`optim_core.engines.prepared.once`).
    """

    graph: Graph
    host: Mapping[str, float]
    buffers: Mapping[str, Sequence[Tensor]]
    dtype: torch.dtype
    engine: str = "eager"
    reason: str = ""
    foreach: bool | None = None
    addresses: dict[str, list[int]] = field(default_factory=dict, repr=False)
    tables: dict[Any, Any] = field(default_factory=dict, repr=False)

    def locate(self, name: str) -> list[int]:
        """The address of each of a buffer's tensors."""
        if name not in self.addresses:
            self.addresses[name] = list(map(Tensor.data_ptr, self.buffers[name]))
        return self.addresses[name]

    @property
    def device(self) -> torch.device:
        """The device of the bucket's parameters."""
        return self.buffers["p"][0].device


class Run(Protocol):
    """One bucket in one step, in the hands of an engine.

    ``pass_totals`` are the totals that one pass over the parameters computes, as positions in ``trace.totals``.
    """

    bucket: Bucket

    def sums(self, pass_totals: tuple[int, ...]) -> Sequence[Tensor | float]:
        """This bucket's part of each total of a pass."""

    def set_totals(self, pass_totals: tuple[int, ...], totals: Sequence[Tensor | float]) -> None:
        """Take the totals of a pass, summed over all buckets."""

    def value(self, shared: Value) -> Tensor | float:
        """A value that all parameters share; all totals must be set."""

    def update(self) -> None:
        """Compute and write the new values."""
