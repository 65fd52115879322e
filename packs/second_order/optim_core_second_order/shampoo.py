"""Shampoo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from optim_core import hyper, l2, state
from optim_core.methods import in_blocks
from optim_core.optimizers import RuleOptimizer
from optim_core.rules import Value, lerp, stacked
from optim_core_second_order.axes import along, unfolded
from optim_core_second_order.roots import inverse_roots


def _axes(shape: tuple[int, ...], group: Mapping[str, Any]) -> list[tuple[int, ...]] | None:
    """A matrix for each axis, its diagonal if the axis is long."""
    return None if not shape else [(d, d) if d <= group["max_size"] else (d,) for d in shape]


class Shampoo(RuleOptimizer):
    """Turns and scales the gradient along each of its axes, by what has been seen along that axis so far.

    For a parameter of k dimensions, G_i the gradient with axis i in front and the others flattened::

        H_i = H_i + G_i G_i^T                  for every axis, starting with epsilon I
        R_i = H_i^(-1 / (2k))                  every update_freq steps
        m = momentum m + (1 - momentum) g      with momentum; starts as the first g
        p = p - lr m R_1 R_2 ... R_k           R_i applied along axis i

    Nothing is forgotten, as in AdaGrad. The first steps are lr times a nearly orthogonal matrix whatever the gradient's
    scale, so the default lr is large. A 0-dimensional parameter takes plain gradient steps. An axis longer than
    ``max_size`` keeps only the diagonal of H_i, the paper's variant for large dimensions: of a vector, AdaGrad is left.
    A matrix of size d costs 2 d^2 numbers and d^3 operations. Two ports are known to depart from the paper: by the
    exponent -1/k, and by statistics of gradients that other axes have changed already.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.eye(2))
        >>> loss = Shampoo([w], lr=0.5, epsilon=1e-12).minimize(lambda: 5 * w.square().sum())
        >>> torch.allclose(w, 0.5 * torch.eye(2))
        True

    Source: Gupta et al., Shampoo: Preconditioned Stochastic Tensor Optimization, 2018, Algorithm 2,
    https://arxiv.org/abs/1802.09568; momentum, which the paper leaves open, averages the gradient before it is turned.
    """

    blocks: str | None = in_blocks()
    lr: float = hyper(0.1, "step size", ge=0, search=(1e-3, 1.0))
    momentum: float = hyper(0.0, "decay of a running average of g", ge=0, lt=1)
    weight_decay: float = l2(0.0)
    epsilon: float = hyper(1e-4, "the statistics start as this times the identity", gt=0)
    update_freq: int = hyper(1, "steps from one computation of the roots to the next", ge=1)
    max_size: int = hyper(1024, "longest axis with a full matrix", ge=0)

    momentum_buffer = state("average of g", when="momentum")
    statistics = state("sums of G G^T, without the start", shape=_axes)
    inverse_roots = state("their inverse 2k-th roots", shape=_axes)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value | None,
        statistics: Value | None,
        inverse_roots: Value | None,
        *,
        lr: Value,
        momentum: Value,
        epsilon: Value,
        update_freq: Value,
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        m, H, R = momentum_buffer, statistics, inverse_roots
        if m is not None:
            m = g if step == 1 else lerp(g, m, momentum)
        x = g if m is None else m
        if H is not None:
            H = _added(H, g)
            R = _roots(H, epsilon=epsilon) if (step - 1) % update_freq == 0 else R
            x = _turned(x, R)
        return p - lr * x, m, H, R


@stacked("own")
def _added(H: list[Tensor], g: Tensor) -> list[Tensor]:
    """H_i + G_i G_i^T, or its diagonal where that is what H_i is."""
    unfolding = [(M, unfolded(g, axis)) for axis, M in enumerate(H, start=1)]
    return [torch.baddbmm(M, G, G.mT) if M.ndim == 3 else M + G.square().sum(2) for M, G in unfolding]


@stacked("own")
def _roots(H: list[Tensor], *, epsilon: float) -> list[Tensor]:
    """R_1, R_2, ..."""
    return inverse_roots(H, 2 * len(H), epsilon)


@stacked("element")
def _turned(x: Tensor, R: list[Tensor]) -> Tensor:
    """R_i along every axis."""
    for axis, M in enumerate(R, start=1):
        x = along(x, axis, M)
    return x
