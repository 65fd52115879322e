"""Latest weight averaging."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from optim_core.methods import hyper, memory_dtype
from optim_core.optimizers import parameters
from optim_core_wrappers.averaging import Averaging


class LAWA(Averaging):
    """Keeps the mean of the latest k snapshots of the weights, to evaluate with while the training is under way.

    ::

        after step n of the base, with t = n - 1: if t >= start_step and (t - start_step) is a multiple of every,
        the weights are the latest snapshot, and one older than the latest k is dropped
        evaluated: the mean of k snapshots, or the weights themselves while there are fewer

    The paper takes a snapshot an epoch; the submission that this follows one every 0.2 % of the steps, from 2 % on.
    Memory is k times the parameters, in float32 for weights of lower precision. ``with optimizer.averaged(): ...`` has
    the parameters hold the mean; so do :meth:`eval` until :meth:`train`. :class:`SWA` is the mean of all snapshots, for
    an lr that stays large. Statistics of batch normalisation have to be made anew for any average.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = LAWA(torch.optim.SGD([weight], lr=0.5), k=2)
        >>> for _ in range(3):
        ...     _ = optimizer.minimize(lambda: 0.5 * weight.square().sum())
        >>> with optimizer.averaged():  # of 0.25 and 0.125
        ...     weight.item()
        0.1875

    Source: Kaddour, Stop Wasting My Time! Saving Days of ImageNet and BERT Training with Latest Weight Averaging, 2022,
    https://arxiv.org/abs/2209.14981; the queue as in a submission to MLCommons' AlgoPerf.
    """

    k: int = hyper(10, "snapshots that are averaged", ge=1)
    start_step: int = hyper(0, "steps before the first snapshot's", ge=0)
    every: int = hyper(1, "steps between two snapshots", ge=1)

    @property
    def keeps(self) -> tuple[str, ...]:  # type: ignore[override]  # as many as an option says
        """The places of the queue."""
        return tuple(f"snapshot_{i}" for i in range(self.options["k"]))

    def start_memory(self, params: Sequence[Tensor]) -> None:
        """All places of the queue."""
        super().start_memory(params)
        for p in params:
            for name in self.keeps:
                if name not in self.memory[p]:
                    self.memory[p][name] = p.detach().to(memory_dtype(p), copy=True)

    def on_wrap(self) -> None:
        """Begin without a snapshot."""
        super().on_wrap()
        self.counters["taken"] = 0

    def average_of(self, p: Tensor) -> Tensor | None:
        """The mean of a full queue."""
        if self.counters["taken"] < self.options["k"] or "snapshot_0" not in self.memory[p]:
            return None
        return torch.stack([self.memory[p][name] / self.options["k"] for name in self.keeps]).sum(dim=0)

    def apply(self) -> None:
        """A step of the base, and a snapshot where one is due, in the place of the oldest."""
        self.start_memory(parameters(self))
        super().apply()
        since = self.counters["steps"] - self.options["start_step"]
        self.counters["steps"] += 1
        if since >= 0 and since % self.options["every"] == 0:
            name = self.keeps[self.counters["taken"] % self.options["k"]]
            for p in parameters(self):
                self.memory[p][name].copy_(p.detach())
            self.counters["taken"] += 1
