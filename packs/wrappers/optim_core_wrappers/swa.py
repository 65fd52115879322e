"""Stochastic weight averaging."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from optim_core.methods import hyper, memory_dtype
from optim_core.optimizers import parameters
from optim_core_wrappers.averaging import Averaging


class SWA(Averaging):
    """Keeps the equal mean of weights that a large lr visits late in the training, to evaluate with.

    ::

        step n of the base, all groups having swa_lr, if given, from n = swa_start + 1 on
        n > swa_start and n a multiple of swa_freq:  average = average + (w - average)/(number of samples)

    Samples are at multiples of ``swa_freq`` counted from the very first step. ``swa_lr`` is set anew before each step,
    whatever a schedule says; torch's ``SWALR`` anneals to it instead. Until there is a sample the weights themselves
    are evaluated. ``with optimizer.averaged(): ...`` has the parameters hold the average; so do :meth:`eval` until
    :meth:`train`. The average is kept in float32 for weights of lower precision, and is part of the state dict, by
    parameter (that of the original is by address). Statistics of batch normalisation have to be made anew for it:
    ``torch.optim.swa_utils.update_bn(loader, model)`` while the parameters hold the average.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = SWA(torch.optim.SGD([weight], lr=0.5), swa_start=1)
        >>> for _ in range(3):
        ...     _ = optimizer.minimize(lambda: 0.5 * weight.square().sum())
        >>> with optimizer.averaged():  # of 0.25 and 0.125
        ...     weight.item()
        0.1875

    Source: Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization, 2018, Algorithm 1,
    https://arxiv.org/abs/1803.05407; options as in torchcontrib.
    """

    swa_start: int = hyper(0, "steps before the first sample", ge=0)
    swa_freq: int = hyper(1, "steps between two samples", ge=1)
    swa_lr: float | None = hyper(None, "lr of all groups once samples are taken; None: as it is", ge=0)

    keeps = ("swa_buffer",)

    def start_memory(self, params: Sequence[Tensor]) -> None:
        """The average, which counts from its first sample."""
        super().start_memory(params)
        for p in params:
            if "swa_buffer" not in self.memory[p]:
                self.memory[p]["swa_buffer"] = p.detach().to(memory_dtype(p), copy=True)

    def on_wrap(self) -> None:
        """Begin without a sample."""
        super().on_wrap()
        self.counters["n_avg"] = 0

    def average_of(self, p: Tensor) -> Tensor | None:
        """The mean of the samples."""
        return self.memory[p].get("swa_buffer") if self.counters["n_avg"] else None

    def apply(self) -> None:
        """A step of the base, and a sample where one is due."""
        self.start_memory(parameters(self))
        if self.options["swa_lr"] is not None and self.counters["steps"] >= self.options["swa_start"]:
            self._set_lr(self.options["swa_lr"])
        super().apply()
        self.counters["steps"] += 1
        n = self.counters["steps"]
        if n > self.options["swa_start"] and n % self.options["swa_freq"] == 0:
            self.counters["n_avg"] += 1
            for p in parameters(self):
                average = self.memory[p]["swa_buffer"]
                average.lerp_(p.detach().to(average.dtype), 1 / self.counters["n_avg"])

    def _set_lr(self, lr: float) -> None:
        for group in self.param_groups:
            if isinstance(group.get("lr"), Tensor):
                group["lr"].fill_(lr)
            elif "lr" in group:
                group["lr"] = lr
