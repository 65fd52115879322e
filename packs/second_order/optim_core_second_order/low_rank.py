"""Matrices seen through a projection of low rank, and AdamW on what is seen: what GaLore and Fira share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, lerp, sqrt, square, stacked
from optim_core_second_order.shapes import Shape, projected, projected_axes
from optim_core_second_order.singular import svd


def projected_shape(shape: Shape, group: Mapping[str, Any]) -> Shape:
    """That of the averages: the projected gradient's, or the parameter's own."""
    return projected(shape, group["rank"], group["proj_type"])


def projection_shapes(shape: Shape, group: Mapping[str, Any]) -> list[Shape] | None:
    """An orthonormal basis for each axis that is projected; None for a parameter that is not."""
    low, axes = projected_shape(shape, group), projected_axes(shape, group["rank"], group["proj_type"])
    return [(shape[axis - 1], low[axis - 1]) for axis in axes] or None


class LowRankAdamW(RuleOptimizer):
    """Base of methods that keep AdamW's averages of matrices in a subspace, which is found anew from time to time.

    A subclass declares ``rank`` and ``proj_type``.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-3, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of h and of its square", ge=0, lt=1)
    eps: float = hyper(1e-6, "added to the root, before bias correction", gt=0)
    weight_decay: float = hyper(0.0, "decoupled decay, times lr, after the step", ge=0)
    correct_bias: bool = hyper(True, "correct the averages as Adam does")
    update_proj_gap: int = hyper(200, "steps from one subspace to the next", ge=1)

    exp_avg = state("average of h", shape=projected_shape)
    exp_avg_sq = state("average of h squared", shape=projected_shape)
    projection = state("bases of the subspaces", shape=projection_shapes)


def step_size(lr: Value, betas: tuple[Value, Value], step: Value, *, correct_bias: bool) -> Value:
    """lr, with Adam's bias correction."""
    return lr * sqrt(1 - betas[1] ** step) / (1 - betas[0] ** step) if correct_bias else lr


def adam(h: Any, m: Any, v: Any, *, betas: tuple[Any, Any], eps: Any) -> tuple[Any, Any, Any]:
    """m / (sqrt(v) + eps), m and v after a gradient: of symbols in a rule, or of tensors in a function of stacks."""
    if isinstance(h, Tensor):
        m, v = betas[0] * m + (1 - betas[0]) * h, betas[1] * v + (1 - betas[1]) * h.square()
        return m / (v.sqrt() + eps), m, v
    m, v = lerp(h, m, betas[0]), lerp(square(h), v, betas[1])
    return m / (sqrt(v) + eps), m, v


@stacked("own")
def subspace(g: Tensor, *, rank: int, proj_type: str) -> list[Tensor]:
    """The leading singular vectors of g on each axis that is projected."""
    U, _, Vh = svd(g)
    low = projected(g.shape[1:], rank, proj_type)
    axes = projected_axes(g.shape[1:], rank, proj_type)
    return [(U if axis == 1 else Vh.mT)[:, :, : low[axis - 1]] for axis in axes]


def within(g: Tensor, projection: Sequence[Tensor], *, rank: int, proj_type: str) -> Tensor:
    """The projected gradient."""
    for axis, B in zip(projected_axes(g.shape[1:], rank, proj_type), projection, strict=True):
        g = B.mT @ g if axis == 1 else g @ B
    return g


def back(x: Tensor, projection: Sequence[Tensor], shape: Sequence[int], *, rank: int, proj_type: str) -> Tensor:
    """What has been projected, in the space of all of the matrix again."""
    for axis, B in zip(projected_axes(tuple(shape), rank, proj_type), projection, strict=True):
        x = B @ x if axis == 1 else x @ B.mT
    return x
