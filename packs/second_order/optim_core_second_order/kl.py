"""Kullback-Leibler factors of the gradient's covariance, and bases that follow them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from optim_core.rules import Value, stacked
from optim_core_second_order.rotation import View, permuted, squares
from optim_core_second_order.shapes import Shape


def factor_shapes(shape: Shape, group: Mapping[str, Any]) -> list[Shape] | None:
    """A square matrix for each axis that is rotated; axes of length 1 are not."""
    return squares(shape, how_of(**group))


def how_of(**group: Any) -> dict[str, Any]:
    """The options that say in which shape, and along which axes, a parameter is rotated."""
    return {name: group[name] for name in ("max_precond_dim", "merge_dims", "precondition_1d")} | {"shortest": 2}


def decay_of(shampoo_beta: Value, step: Value) -> Value:
    """The decay of the factors, such that they are averages of what they have seen."""
    return 1 - (1 - shampoo_beta) / (1 - shampoo_beta**step)


@stacked("own")
def factors(GG: list[Tensor], Q: list[Tensor], g: Tensor, *, decay: float, eps: float, **how: Any) -> list[Tensor]:
    """The factors with a gradient in them; of a matrix each is whitened by the other."""
    view = View(g.shape[1:], how)
    unfolding = view.unfolded(g)
    if len(view.shape) == len(GG) == 2:
        # products with Q / sqrt(e): the inverse of the other factor in the middle of g ... g^T
        halves = [B * eigenvalues(M, B, eps).rsqrt().unsqueeze(1) for M, B in zip(GG, Q, strict=True)]
        unfolding = [G @ half / half.shape[1] ** 0.5 for G, half in zip(unfolding, reversed(halves), strict=True)]
    return [torch.baddbmm(M, G, G.mT, beta=decay, alpha=1 - decay) for M, G in zip(GG, unfolding, strict=True)]


def eigenvalues(M: Tensor, Q: Tensor, eps: float) -> Tensor:
    """What the eigenvalues of a factor are if Q is its basis, at least eps."""
    return (Q * (M @ Q)).sum(1).clamp(min=eps)


@stacked("own")
def followed(GG: list[Tensor], Q: list[Tensor], *, eps: float) -> list[Tensor]:
    """The bases after a step of the QR algorithm, their columns in the places that they had."""
    new = []
    for M, B in zip(GG, Q, strict=True):
        T = M @ B
        e = (B * T).sum(1)
        share = max(eps, min(64 * e.shape[1] * torch.finfo(e.dtype).eps, 1 / 8))
        lifted = T + (share * e.abs().amax(1)).reshape(-1, 1, 1) * B
        order = e.argsort(descending=True)
        basis, R = torch.linalg.qr(permuted(lifted, 2, order))
        signs = torch.where(R.diagonal(dim1=1, dim2=2) < 0, -1.0, 1.0).to(basis.dtype)
        new.append(permuted(basis * signs.unsqueeze(1), 2, order.argsort()))
    return new


@stacked("element")
def moved(m: Tensor, Q: list[Tensor], new: list[Tensor], **how: Any) -> Tensor:
    """From one basis into another."""
    view = View(m.shape[1:], how)
    return view.back(view.along_axes(view.of(m), [B.mT @ A for A, B in zip(Q, new, strict=True)]))
