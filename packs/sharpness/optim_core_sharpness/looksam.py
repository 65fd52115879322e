"""SAM that looks only now and then."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from optim_core.methods import Column, hyper, memory_dtype
from optim_core.rules import Value, dot, norm, sqrt, square, total, where
from optim_core_sharpness.participants import ParticipantSet
from optim_core_sharpness.two_step import Expression, SharpnessAware, worst


class LookSAM(SharpnessAware):
    r"""SAM whose second gradient is taken every k steps only, and what it adds is used again in between.

    .. math:: \text{step 0, k, 2k ...:} \quad g_s = \nabla L(w + \rho\, g / \lVert g \rVert), \quad
        g_v = g_s - \frac{g_s \cdot g}{\lVert g \rVert^2} g
    .. math:: \text{the others:} \quad g_s = g + \alpha\, \frac{\lVert g \rVert}{\lVert g_v \rVert}\, g_v

    and each time the base steps with g_s. The gradient is one vector over all parameters, as in the paper; ports take
    norms and products tensor by tensor. With ``layerwise`` everything is by tensor, and the excursion is
    :math:`\rho\, (\lVert w \rVert / \lVert g \rVert)\, g`, relative to the norm of each: Look-LayerSAM. g_v and the
    count of steps are part of the state dict.

    Driven as :class:`~optim_core_sharpness.two_step.SharpnessAware` tells; by hand, the second ``backward()`` is
    wanted where ``first_step()`` returns True, and has no effect elsewhere. ``second_step()`` always follows.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = LookSAM(torch.optim.SGD([weight], lr=0.25), rho=1.0, k=2)
        >>> evaluations = []
        >>> for _ in range(4):
        ...     _ = optimizer.minimize(lambda: evaluations.append(weight.item()) or weight.square().sum())
        >>> len(evaluations)
        6

    Source: Liu et al., Towards Efficient and Scalable Sharpness-Aware Minimization, 2022,
    https://arxiv.org/abs/2203.02714, Algorithm 1. No code of the authors is known.
    """

    rho: float = hyper(0.1, "radius of the excursion", ge=0, search=(0.01, 0.5))
    k: int = hyper(10, "steps from one excursion to the next", ge=1)
    alpha: float = hyper(0.7, "size of the part that is used again, relative to the gradient", ge=0, search=(0.5, 1.0))
    layerwise: bool = hyper(False, "each tensor by itself, the excursion relative to its norm")
    perturb_eps: float = hyper(1e-12, "added to the norm", ge=0)

    keeps = ("g_v",)

    def start_memory(self, params: Sequence[Tensor]) -> None:
        """g_v, of zeros."""
        super().start_memory(params)
        for p in params:
            self._g_v(p)

    def on_wrap(self) -> None:
        """Count the steps since the last excursion."""
        super().on_wrap()
        self.counters["steps"] = 0

    @property
    def twice(self) -> bool:
        """True in a step with an excursion."""
        return not self.counters["steps"]

    def expressions(self) -> tuple[Expression, Expression | None]:
        """The expressions of this step: with an excursion or without."""
        return (self.rise, self.fall) if self.twice else (self.reuse, None)

    def buffer(self, name: str, members: ParticipantSet) -> Column:
        """g_v stays from step to step; g_s becomes the gradient, so it is another one each time."""
        if name == "g_v":
            return Column(map(self._g_v, members.p))
        return Column(map(torch.empty_like, members.columns["g"])) if name == "g_s" else super().buffer(name, members)

    def _g_v(self, p: Tensor) -> Tensor:
        memory = self.memory[p]
        if "g_v" not in memory:
            memory["g_v"] = torch.zeros_like(p, dtype=memory_dtype(p))
        return memory["g_v"]  # type: ignore[no-any-return]

    def fall_back(self) -> None:
        """Without an excursion the gradient of the only evaluation counts, whatever came after it."""
        super().fall_back()
        for members in self.sets:
            for p, g_s in zip(members.p, members.columns.get("g_s", ()), strict=False):
                p.grad = g_s

    def descend(self) -> None:
        """The base's step; a step that GradScaler skips does not count."""
        super().descend()
        self.counters["steps"] = (self.counters["steps"] + 1) % self.options["k"]

    @staticmethod
    def rise(
        p: Value, g: Value, kept: Value, clean: Value, *, rho: Value, layerwise: bool, perturb_eps: Value
    ) -> Mapping[str, Value]:
        """w + epsilon, and g kept."""
        del kept, clean
        if layerwise:
            size = norm(g)
            e = where((size > 0) & (size < math.inf), rho * norm(p) / (size + perturb_eps) * g, 0.0)
        else:
            e = worst(g, rho, perturb_eps)
        return {"p": p + e, "kept": p, "clean": g}

    @staticmethod
    def fall(p: Value, g: Value, kept: Value, clean: Value, g_v: Value, *, layerwise: bool) -> Mapping[str, Value]:
        """Back to w, with g_s, and g_v kept."""
        del p, g_v
        product, squared = (dot(g, clean), dot(clean, clean)) if layerwise else (total(g * clean), total(square(clean)))
        along = where(squared > 0, product / squared, 0.0) * clean
        return {"p": kept, "g_v": where(squared < math.inf, g - along, 0.0)}

    @staticmethod
    def reuse(p: Value, g: Value, g_s: Value, g_v: Value, *, alpha: Value, layerwise: bool) -> Mapping[str, Value]:
        """No excursion: g, and as much again of g_v as alpha says."""
        del p, g_s
        size, size_v = (norm(g), norm(g_v)) if layerwise else (sqrt(total(square(g))), sqrt(total(square(g_v))))
        return {"g_s": g + alpha * size / (size_v + 1e-8) * g_v}
