"""The common part of wrappers that scale all that a base has done since the start: mechanic and trac."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from optim_core.methods import full_tensor, hyper, memory_dtype, real
from optim_core.optimizers import check_gradient, parameters
from optim_core.wrapping import Wrapper
from optim_core_wrappers.present_gradients import refuse_accumulation

_BETAS = (0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999)


class Tuned(Wrapper):
    """Puts the weights at ref + S D: ref where they began, D what the base would have added up, S a scale to find.

    One-dimensional tuners, one for each beta, find the scale by inner products over all parameters; subclasses give
    their :meth:`begin_tuners` and the step. What they keep are plain numbers in every group.
    """

    betas: tuple[float, ...] = hyper(_BETAS, "discounts of the tuners", ge=0, le=1)
    eps: float = hyper(1e-8, "keeps divisors from zero", gt=0)

    keeps = ("ref",)

    @abstractmethod
    def begin_tuners(self) -> dict[str, list[float]]:
        """The first values of the tuners: a number for each beta, by name."""

    @abstractmethod
    def tuned_step(self, params: Sequence[Tensor]) -> None:
        """A step of the base and of the tuners; what they know is in ``tuners``.

        Args:
            params: the parameters that have a gradient.
        """

    @property
    def tuners(self) -> Any:
        """The state of the tuners, by name."""
        return self.counters

    def on_wrap(self) -> None:
        """Begin the tuners.

        Raises:
            WrapperConflict: what is inside steps once for several calls.
        """
        super().on_wrap()
        refuse_accumulation(self)
        self.counters["steps"] = 0
        for name, values in self.begin_tuners().items():
            self.tuners[name] = values

    def start_memory(self, params: Sequence[Tensor]) -> None:
        """Where the weights began."""
        super().start_memory(params)
        for p in params:
            if "ref" not in self.memory[p]:
                self.memory[p]["ref"] = p.detach().to(memory_dtype(p), copy=True)

    def apply(self) -> None:
        """A step of the base, whose sum is scaled."""
        if not self.counters["steps"]:  # the weights may have been loaded since the memory was created
            for p in parameters(self):
                for name in self.keeps:
                    self.memory[p].pop(name, None)
        self.start_memory(parameters(self))
        params = [p for p in parameters(self) if p.grad is not None and p.numel()]
        for p in params:
            check_gradient(p, self.method.name)
        self.tuned_step(params)
        self.counters["steps"] += 1

    @property
    def scale(self) -> float:
        """S as it is now: what the base's lr is multiplied by."""
        return float(sum(self.tuners["s"]))

    def ref(self, p: Tensor) -> Tensor:
        """Where a parameter began."""
        ref: Tensor = self.memory[p]["ref"]
        return ref

    def moved(self, p: Tensor, scale: float) -> Tensor:
        """D of a parameter, from where it is, for the scale with which it got there."""
        eps: float = self.options["eps"]
        return (p.detach().to(self.ref(p).dtype) - self.ref(p)) / (scale + eps)

    def place(self, p: Tensor, summed: Tensor, scale: float) -> None:
        """Put a parameter at ref + scale D."""
        p.copy_(self.ref(p) + scale * summed)


def inner(pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
    """The inner product of two lists of tensors, over all ranks if they are sharded."""
    products = [full_tensor((real(a.detach()) * real(b.detach())).sum()) for a, b in pairs]
    return float(torch.stack([x.to(products[0].device, torch.float64) for x in products]).sum()) if products else 0.0
