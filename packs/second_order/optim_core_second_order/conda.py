"""Conda."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from optim_core import hyper, state
from optim_core.optimizers import RuleOptimizer
from optim_core.rules import Value, lerp, root, sqrt, square, stacked
from optim_core_second_order.routing import routes
from optim_core_second_order.shapes import Shape
from optim_core_second_order.singular import svd


def _square(shape: Shape, group: Mapping[str, Any]) -> list[Shape] | None:
    if len(shape) != 2 or group["update_proj_gap"] is None:
        return None
    return [(min(shape), min(shape))]


class Conda(RuleOptimizer):
    """Adam whose second moment is kept in a basis of the average gradient's singular vectors.

    For matrices; V are the right singular vectors of m if there are at least as many rows as columns, and otherwise all
    is done from the left side; t counts from 1::

        m = beta1 m + (1 - beta1) g
        V from m = U S V^T                                    at t = 1 and then every update_proj_gap steps
        v = beta2 v + (1 - beta2) (g V)^2
        u = scale (m V) / (sqrt(v) + eps) V^T
        p = p - lr sqrt(1 - beta2^t) / (1 - beta1^t) u
        p = p (1 - lr weight_decay)

    All else gets Adam with the same options, without V and scale: what is no matrix, groups with
    ``update_proj_gap=None``, and for ``Conda(model)`` embeddings, what is taken for the head, normalisation layers and
    parameters beside submodules. v is not turned when V changes, so that long gaps are meant. A gradient of zeros in
    the first step leaves an arbitrary basis until the next one.

    The authors' ``proj_type`` insists on a side; as only that of the shorter axis is possible, in their code too, there
    is no such option. Their scripts take lr 0.01, betas (0.9, 0.99) and scale 0.25 for language models.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.eye(2))
        >>> optimizer = Conda([w], lr=0.1)
        >>> [round(float(optimizer.minimize(lambda: w.square().sum())), 3) for _ in range(3)]
        [2.0, 1.62, 1.281]

    Source: Wang et al., Conda: Column-Normalized Adam for Training Large Language Models Faster, 2025, Algorithm 1,
    https://arxiv.org/abs/2509.24218; decay after the update, and v without correction before eps, as in the authors'
    code.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of g V squared", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root", ge=0)
    weight_decay: float = hyper(0.0, "decoupled decay, times lr, after the update", ge=0)
    correct_bias: bool = hyper(True, "correct the averages as Adam does")
    update_proj_gap: int | None = hyper(2000, "steps from one basis to the next; None for plain Adam", ge=1)
    scale: float = hyper(1.0, "factor of the steps of matrices", ge=0)

    exp_avg = state("average of g")
    exp_avg_sq = state("average of g V squared, in the basis")
    basis = state("V, or U", shape=_square)

    @classmethod
    def groups_of(cls, model: nn.Module) -> list[dict[str, Any]]:
        """Groups for a whole model: hidden matrices, and a group for Adam."""
        groups: dict[bool, list[tuple[str, nn.Parameter]]] = {True: [], False: []}
        for name, _, p, exception in routes(model):
            groups[not exception].append((name, p))
        others = {"params": groups[False], "update_proj_gap": None}
        return [*([{"params": groups[True]}] if groups[True] else []), *([others] if groups[False] else [])]

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        basis: Value | None,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        weight_decay: Value,
        correct_bias: bool,
        update_proj_gap: Value | None,
        scale: Value,
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        beta1, beta2 = betas
        m = exp_avg = lerp(g, exp_avg, beta1)
        if basis is not None and update_proj_gap is not None:
            if (step - 1) % update_proj_gap == 0:
                basis = _vectors(m)
            g, m = _turned(g, basis), _turned(m, basis)
        v = lerp(square(g), exp_avg_sq, beta2)
        c2 = 1 - beta2**step
        u = m / root(v, eps, c2 if correct_bias else None, outside=True)
        if basis is not None:
            u = scale * _turned(u, basis, back=True)
        size = lr * sqrt(c2) / (1 - beta1**step) if correct_bias else lr
        return (p - size * u) * (1 - lr * weight_decay), exp_avg, v, basis


@stacked("own")
def _vectors(m: Tensor) -> list[Tensor]:
    """Singular vectors of m."""
    U, _, Vh = svd(m)
    return [(Vh.mT if _is_tall(m) else U).contiguous()]


@stacked("element")
def _turned(x: Tensor, basis: list[Tensor], *, back: bool = False) -> Tensor:
    """x in the basis, or back from it."""
    (V,) = basis
    if _is_tall(x):
        return torch.bmm(x, V.mT if back else V)
    return torch.bmm(V if back else V.mT, x)


def _is_tall(x: Tensor) -> bool:
    return x.shape[1] >= x.shape[2]
