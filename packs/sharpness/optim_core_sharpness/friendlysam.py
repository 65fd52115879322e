"""Friendly sharpness-aware minimization."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from optim_core.methods import Column, hyper, memory_dtype
from optim_core.rules import Value, amax, lerp, sqrt, square, total, where
from optim_core_sharpness.participants import ParticipantSet
from optim_core_sharpness.two_step import SharpnessAware


class FriendlySAM(SharpnessAware):
    r"""SAM whose excursion goes by what is new in the gradient of the batch: what batches have in common is taken out.

    .. math:: q = g - \sigma\, a, \quad \epsilon = \rho\, q / \lVert q \rVert, \quad
        a \leftarrow \lambda\, a + (1 - \lambda)\, g, \qquad \text{base step with } \nabla L(w + \epsilon)

    a, the average of the gradients at w, is g in the first step, which is SAM's. ``sigma=0`` is SAM always. The a of
    before is taken out, as the authors' code does: with sigma = 1 the direction is the same with the new one. With the
    same batch in every step q becomes rounding, and the excursion goes anywhere. A gradient that is not finite does not
    enter a. The average is part of the state dict.

    Driven as :class:`~optim_core_sharpness.two_step.SharpnessAware` tells.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = FriendlySAM(torch.optim.SGD([weight], lr=0.25), rho=1.0)
        >>> optimizer.minimize(lambda: weight.square().sum()).item()
        1.0
        >>> weight.item()  # the gradient at 2 is 4
        0.0

    Source: Li, Zhou, He, Cheng and Huang, Friendly Sharpness-Aware Minimization, 2024,
    https://arxiv.org/abs/2403.12350, Algorithm 1; ``adaptive`` is ASAM's scaling by \|w\|, as in the authors' code.
    """

    rho: float = hyper(0.05, "radius of the excursion", ge=0, search=(0.01, 0.5))
    sigma: float = hyper(1.0, "how much of the average gradient is taken out", ge=0)
    lmbda: float = hyper(0.9, "decay of the average gradient", ge=0, lt=1, search=(0.6, 0.95))
    adaptive: bool = hyper(False, "scale the excursion by the size of each weight")
    perturb_eps: float = hyper(1e-12, "added to the norm", ge=0)

    keeps = ("momentum",)

    def start_memory(self, params: Sequence[Tensor]) -> None:
        """The average, of zeros until the first gradient."""
        super().start_memory(params)
        for p in params:
            self._average(p)

    def _average(self, p: Tensor) -> Tensor:
        memory = self.memory[p]
        if "momentum" not in memory:
            memory["momentum"] = torch.zeros_like(p, dtype=memory_dtype(p))
        return memory["momentum"]  # type: ignore[no-any-return]

    def buffer(self, name: str, members: ParticipantSet) -> Column:
        """The average stays from step to step; the one to come takes its place in the step of the base."""
        if name == "momentum":
            return Column(map(self._average, members.p))
        if name == "average":
            return members.memory(name, map(self._average, members.p))
        return super().buffer(name, members)

    def apply(self) -> None:
        """The base's step; what is evaluated and not stepped with does not enter the average."""
        for members in self.sets:
            for p, average in zip(members.p, members.columns.get("average", ()), strict=False):
                self._average(p).copy_(average)
        super().apply()

    @staticmethod
    def rise(
        p: Value,
        g: Value,
        kept: Value,
        momentum: Value,
        average: Value,
        *,
        rho: Value,
        sigma: Value,
        lmbda: Value,
        adaptive: bool,
        perturb_eps: Value,
    ) -> Mapping[str, Value]:
        """w + epsilon, and g averaged."""
        del kept, average
        news = g - sigma * momentum
        scaled = abs(p) * news if adaptive else news
        norm, finite = sqrt(total(square(scaled))), total(square(g)) < math.inf
        direction = abs(p) * scaled if adaptive else scaled
        e = where((norm > 0) & (norm < math.inf), rho / (norm + perturb_eps) * direction, 0.0)
        average = where(amax(abs(momentum)) > 0, lerp(g, momentum, lmbda), g)
        return {"p": p + e, "kept": p, "average": where(finite, average, momentum)}
