"""LDAdamW."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from optim_core import decoupled, hyper, state
from optim_core.rules import Value, stacked
from optim_core_second_order.hidden_matrices import HiddenMatrices
from optim_core_second_order.shapes import Shape, low_rank_side, matrix_view
from optim_core_second_order.singular import svd


def _average_shape(shape: Shape, group: Mapping[str, Any]) -> Shape | None:
    """Rank x the side that is not projected; flat, so that it is never the parameter's shape."""
    if len(shape) < 2:
        return None
    matrix = matrix_view(shape)
    return (min(group["rank"], *matrix) * matrix[1 - low_rank_side(matrix, group["proj_type"])],)


def _basis_shape(shape: Shape, group: Mapping[str, Any]) -> list[Shape] | None:
    if len(shape) < 2:
        return None
    matrix = matrix_view(shape)
    return [(matrix[low_rank_side(matrix, group["proj_type"])], min(group["rank"], *matrix))]


class LDAdamW(HiddenMatrices):
    """AdamW in a subspace that turns a little at every step, with averages that turn along and an account of the rest.

    For hidden matrices; a weight of more dimensions counts as one, of dimension 0 by all others; AdamW gets everything
    else, as in :class:`Muon`. Rows are projected here (the shorter side with "std"), P is the basis of the step before,
    t counts from 0; at t = 0 P' is made of singular vectors, and m, v need no turning::

        G = g + E                                              E: what has been left out; 0 without error_feedback
        B = rho P m / (1 - beta1^t) + (1 - rho) G
        P' = Q of QR(B B^T P)                                  "svd": the first left singular vectors of B
        a = P'^T G;   C = P'^T P;   m' = C m
        E = G - P' a + beta1 / (1 - beta1) (P m - P' m')
        v = |(C^2 (v / (1 - beta2^t) - (m / (1 - beta1^t))^2) + (m' / (1 - beta1^t))^2) (1 - beta2^t)|
        m = beta1 m' + (1 - beta1) a;   v = beta2 v + (1 - beta2) a^2
        p = p (1 - lr weight_decay) - lr P' Adam's direction from m and v

    C^2 is element by element. The authors keep E in p.grad, where clipping, scaling or a zero_grad by others changes
    it; here it is a state of the parameter's size (so what is saved is one of Adam's two averages), and steps are
    counted by parameter. ``rank`` is at most the shorter side. Their class has a random "svd_lowrank", too.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, 1.0], [0.0, 2.0], [1.0, 1.0]]))
        >>> optimizer = LDAdamW([w], lr=0.1, rank=1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(20)]
        >>> losses[-1] < 0.5 * losses[0]
        True

    Source: Robert et al., LDAdam: Adaptive Optimization from Low-Dimensional Gradient Statistics, 2024, Algorithm 1,
    https://arxiv.org/abs/2410.16103; as in the authors' code.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(3e-4, 3e-2))
    betas: tuple[float, float] = hyper((0.908, 0.99), "decay of the averages of a and of its square", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root", ge=0)
    weight_decay: float = decoupled(0.0)
    rank: int = hyper(16, "dimension of the subspace", ge=1)
    rho: float = hyper(0.908, "share of the momentum in what the subspace follows", ge=0, le=1)
    proj_type: str = hyper("std", "which side is projected", choices=("std", "reverse_std", "left", "right"))
    proj_method: str = hyper("power_iteration", "how the subspace follows", choices=("power_iteration", "svd"))
    error_feedback: bool = hyper(True, "add what has been left out to the next gradient")

    low_avg = state("average of a, flat", shape=_average_shape)
    low_avg_sq = state("average of a squared, flat", shape=_average_shape)
    projection = state("basis of the subspace", shape=_basis_shape)
    error = state("what has been left out", when=lambda group: group["use_muon"] and group["error_feedback"])

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        low_avg: Value,
        low_avg_sq: Value,
        projection: Value,
        error: Value | None,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        rho: Value,
        proj_type: str,
        proj_method: str,
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        G = g if error is None else g + error
        how = {"side": proj_type, "method": proj_method, "t": step - 1}
        u, rest, m, v, P = _followed(G, low_avg, low_avg_sq, projection, betas=betas, eps=eps, rho=rho, **how)
        return p - lr * u, m, v, P, None if error is None else rest


@stacked("element", "element", "own", "own", "own")
def _followed(
    G: Tensor,
    m: Tensor,
    v: Tensor,
    projection: list[Tensor],
    *,
    betas: tuple[float, float],
    eps: float,
    rho: float,
    side: str,
    method: str,
    t: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, list[Tensor]]:
    """Adam's direction, what it leaves out of the gradient, the averages and the basis after a step."""
    (beta1, beta2), (P,), X = betas, projection, G.flatten(2)
    flipped = low_rank_side(tuple(X.shape[1:]), side)
    X = X.mT if flipped else X
    m, v = (y.reshape(len(X), P.shape[2], X.shape[2]) for y in (m, v))
    c1, c2 = 1 - beta1**t, 1 - beta2**t
    new = _basis(rho * (P @ m) / c1 + (1 - rho) * X if t else X, None if method == "svd" or not t else P)
    new = new[:, :, : P.shape[2]]
    a, C = new.mT @ X, new.mT @ P
    turned = C @ m
    rest = X - new @ a + beta1 / (1 - beta1) * (P @ m - new @ turned)
    if t:
        v = (C.square() @ (v / c2 - (m / c1).square()) + (turned / c1).square()).mul(c2).abs()
    m, v = beta1 * turned + (1 - beta1) * a, beta2 * v + (1 - beta2) * a.square()
    u = new @ ((m / (1 - beta1 ** (t + 1))) / ((v / (1 - beta2 ** (t + 1))).sqrt() + eps))
    u, rest = (y.mT.reshape(G.shape) if flipped else y.reshape(G.shape) for y in (u, rest))
    return u, rest, m.flatten(1), v.flatten(1), [new]


def _basis(B: Tensor, P: Tensor | None) -> Tensor:
    """Columns that span what B mostly lies in: by a step of power iteration from P, or singular vectors.

    In double, since what is small in B B^T would be lost.
    """
    X = B.double()
    return (svd(X)[0] if P is None else torch.linalg.qr(X @ (X.mT @ P.double())).Q).to(B.dtype)
