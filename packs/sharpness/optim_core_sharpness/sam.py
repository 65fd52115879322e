"""Sharpness-aware minimization."""

from __future__ import annotations

from collections.abc import Mapping

from optim_core.methods import hyper
from optim_core.rules import Value
from optim_core_sharpness.two_step import SharpnessAware, worst


class SAM(SharpnessAware):
    r"""Descends with the gradient taken at the worst point nearby.

    .. math:: \epsilon = \rho\, g / \lVert g \rVert, \qquad \text{base step with } \nabla L(w + \epsilon)

    The norm is over all parameters of all groups. Weights are put back by copying, so nothing of the excursion
    remains (several originals subtract it again). Gradients are evaluated twice a step: ``minimize(closure)`` and
    ``step(closure)`` do both; :class:`~optim_core_sharpness.two_step.SharpnessAware` tells how to do it by hand, with
    GradScaler, and what ``model=`` is for: batch normalisation, which otherwise counts both evaluations. A parameter
    group may have a ``rho`` of its own, unless the base has an option of that name. With data in parallel the paper
    takes each worker's own gradient first: wrap that ``backward()`` in ``no_sync()``.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = SAM(torch.optim.SGD([weight], lr=0.25), rho=1.0)
        >>> optimizer.minimize(lambda: weight.square().sum()).item()
        1.0
        >>> weight.item()  # the gradient at 2 is 4
        0.0

    Source: Foret et al., Sharpness-Aware Minimization for Efficiently Improving Generalization, 2020,
    https://arxiv.org/abs/2010.01412, equation 2; ``adaptive`` is ASAM's scaling by \|w\|.
    """

    rho: float = hyper(0.05, "radius of the excursion", ge=0, search=(0.01, 0.5))
    adaptive: bool = hyper(False, "scale the excursion by the size of each weight")
    perturb_eps: float = hyper(1e-12, "added to the norm", ge=0)

    @staticmethod
    def rise(p: Value, g: Value, kept: Value, *, rho: Value, adaptive: bool, perturb_eps: Value) -> Mapping[str, Value]:
        """w + epsilon."""
        del kept
        return {"p": p + worst(g, rho, perturb_eps, abs(p) if adaptive else None), "kept": p}
