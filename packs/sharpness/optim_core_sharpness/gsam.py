"""Surrogate gap guided sharpness-aware minimization."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optim_core.errors import InvalidOption
from optim_core.methods import hyper
from optim_core.rules import Value, sqrt, square, total
from optim_core_sharpness.sam import SAM
from optim_core_sharpness.two_step import SharpnessAware

_SCHEDULE = ("max_rho", "min_rho", "max_lr", "min_lr")


class GSAM(SharpnessAware):
    r"""SAM that also closes the gap between the loss nearby and the loss here, where that costs the former nothing.

    .. math:: \text{base step with } g_p - \alpha\, g_\perp, \quad g_p = \nabla L(w + \rho\, g / \lVert g \rVert),
        \quad g_\perp = \text{the part of } g \text{ orthogonal to } g_p

    Norms and products are over all parameters together, and never weighted in :math:`g_\perp`. ``alpha=0`` is SAM.
    ``adaptive`` scales the excursion as ASAM does (the paper's JAX code has another scaling).

    The radius may follow the lr of the first group, at each step, by whatever scheduler: given ``max_rho``,
    ``min_rho``, ``max_lr`` and ``min_lr``,

    .. math:: \rho = \rho_{min} + (\rho_{max} - \rho_{min}) (lr - lr_{min}) / (lr_{max} - lr_{min})

    and max_rho where max_lr = min_lr. An lr outside the range continues the line, which is cut at rho = 0.

    Driven as :class:`~optim_core_sharpness.two_step.SharpnessAware` tells.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, 1.0]))
        >>> optimizer = GSAM(torch.optim.SGD([w], lr=0.25), max_rho=1.0, min_rho=0.0, max_lr=0.25, min_lr=0.0)
        >>> optimizer.minimize(lambda: w[0] ** 2 + w[1]).item()
        2.0

    Source: Zhuang et al., Surrogate Gap Minimization Improves Sharpness-Aware Training, 2022,
    https://arxiv.org/abs/2203.08065, Algorithm 1.
    """

    alpha: float = hyper(0.4, "weight of the part that closes the gap", ge=0, search=(0.1, 1.0))
    rho: float | None = hyper(None, "radius of the excursion; None: by the schedule, or 0.05 without one", ge=0)
    max_rho: float | None = hyper(None, "radius at max_lr", ge=0)
    min_rho: float | None = hyper(None, "radius at min_lr", ge=0)
    max_lr: float | None = hyper(None, "upper end of lr", ge=0)
    min_lr: float | None = hyper(None, "lower end of lr", ge=0)
    adaptive: bool = hyper(False, "scale the excursion by the size of each weight")
    perturb_eps: float = hyper(1e-12, "added to norms", ge=0)

    def on_wrap(self) -> None:
        """Settle the radius.

        Raises:
            InvalidOption: the schedule is given in part, or beside a constant radius.
        """
        given = [name for name in _SCHEDULE if self.options[name] is not None]
        if given and len(given) < len(_SCHEDULE):
            missing = [name for name in _SCHEDULE if name not in given]
            raise InvalidOption(f"GSAM: the schedule of rho lacks {', '.join(missing)}")
        if given and self.options["rho"] is not None:
            raise InvalidOption(f"GSAM: rho={self.options['rho']} leaves {', '.join(given)} without effect: give one")
        if given and self.options["max_lr"] < self.options["min_lr"]:
            raise InvalidOption("GSAM: max_lr must be at least min_lr")
        if not given and self.options["rho"] is None:
            self.options["rho"] = 0.05
        super().on_wrap()

    def options_of(self, group: Mapping[str, Any]) -> dict[str, Any]:
        """The options, with the radius of the moment."""
        options = super().options_of(group)
        return options if options["rho"] is not None else options | {"rho": self._scheduled()}

    def _scheduled(self) -> float:
        max_rho, min_rho, max_lr, min_lr = (self.options[name] for name in _SCHEDULE)
        if max_lr == min_lr:
            return float(max_rho)
        share = (float(self.param_groups[0]["lr"]) - min_lr) / (max_lr - min_lr)
        return max(0.0, float(min_rho + (max_rho - min_rho) * share))

    @staticmethod
    def rise(
        p: Value, g: Value, kept: Value, clean: Value, *, rho: Value, adaptive: bool, perturb_eps: Value
    ) -> Mapping[str, Value]:
        """w + epsilon, and g kept."""
        del clean
        return {**SAM.rise(p, g, kept, rho=rho, adaptive=adaptive, perturb_eps=perturb_eps), "clean": g}

    @staticmethod
    def fall(p: Value, g: Value, kept: Value, clean: Value, *, alpha: Value, perturb_eps: Value) -> Mapping[str, Value]:
        """Back to w, with g_p - alpha g_perp."""
        del p
        norm, norm_p, product = sqrt(total(square(clean))), sqrt(total(square(g))), total(clean * g)
        cosine = product / (norm_p * norm + perturb_eps)
        orthogonal = clean - cosine * norm / (norm_p + perturb_eps) * g
        return {"p": kept, "g": g - alpha * orthogonal}
