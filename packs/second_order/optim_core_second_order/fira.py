"""Fira."""

from __future__ import annotations

import torch
from torch import Tensor

from optim_core import hyper, state
from optim_core.rules import Value, maximum, norm, stacked
from optim_core_second_order.low_rank import LowRankAdamW, adam, back, step_size, subspace, within


class Fira(LowRankAdamW):
    """GaLore, and what the projection leaves out of the gradient on top, scaled as Adam scales the rest.

    L or R being the leading singular vectors of the gradient as in GaLore, B(x) = alpha L x R::

        h = L^T g R^T;   m, v, n = m / (sqrt(v) + eps) as in GaLore
        q = (g - B(h)) ||n|| / (||h|| + 1e-8)         norms of columns; of rows where n is not wide
        q = q / l,  l = max(||q|| / (Z + 1e-8), 1.01) / 1.01;   Z = ||q||       no limit in the first step
        p = p - s (B(n) + q)                          s: lr with Adam's bias correction
        p = p - lr weight_decay p

    What is not a matrix, and groups with ``rank=None``, take plain AdamW. alpha is inside of q too, as in the authors'
    code: with alpha < 1 part of the gradient in the subspace counts twice; the paper has the plain rest there. The norm
    of q grows by 1 % a step at most: after a gradient of zero, or a tiny one, q takes long to recover.

    The authors have rank 8 and alpha 1 for fine-tuning, rank 128 and more with alpha 0.25 for pre-training.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, 1.0], [0.0, 2.0], [1.0, 1.0]]))
        >>> optimizer = Fira([w], lr=0.1, rank=1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(20)]
        >>> losses[-1] < 0.5 * losses[0]
        True

    Source: Chen et al., Fira: Can We Achieve Full-rank Training of LLMs Under Low-rank Constraint?, 2024, Algorithm 1,
    https://arxiv.org/abs/2410.01623; alpha, axes and limiter as in the authors' code.
    """

    rank: int | None = hyper(8, "dimension of the subspace; None for plain AdamW", ge=1)
    alpha: float = hyper(1.0, "factor of what is projected back", ge=0)
    proj_type: str = hyper("std", "which side is projected", choices=("std", "reverse_std", "right", "left"))

    scaling_grad = state("norm of the last q, as limited", level="tensor")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        projection: Value | None,
        scaling_grad: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        weight_decay: Value,
        correct_bias: bool,
        update_proj_gap: Value,
        rank: Value | None,
        alpha: Value,
        proj_type: str,
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        Z = scaling_grad
        if projection is None:
            u, m, v = adam(g, exp_avg, exp_avg_sq, betas=betas, eps=eps)
        else:
            if (step - 1) % update_proj_gap == 0:
                projection = subspace(g, rank=rank, proj_type=proj_type)
            how = {"rank": rank, "proj_type": proj_type}
            u, q, m, v = _apart(g, exp_avg, exp_avg_sq, projection, betas=betas, eps=eps, alpha=alpha, **how)
            limit = maximum(norm(q) / (Z + 1e-8), 1.01) / 1.01 if step > 1 else 1
            u = u + q / limit
            Z = norm(q) / limit
        p = p - step_size(lr, betas, step, correct_bias=correct_bias) * u
        return p - lr * weight_decay * p, m, v, projection, Z


@stacked("element", "element", "m", "v")
def _apart(
    g: Tensor,
    m: Tensor,
    v: Tensor,
    projection: list[Tensor],
    *,
    betas: tuple[float, float],
    eps: float,
    alpha: float,
    rank: int,
    proj_type: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Adam's direction within the subspace, brought back; what is left of g, scaled likewise; and the averages."""
    h = within(g, projection, rank=rank, proj_type=proj_type)
    n, m, v = adam(h, m, v, betas=betas, eps=eps)
    u, inside = (alpha * back(x, projection, g.shape[1:], rank=rank, proj_type=proj_type) for x in (n, h))
    # along the side that has been projected; the authors tell it by which is the shorter one, as here if both are whole
    rows, columns = n.shape[1] != g.shape[1], n.shape[2] != g.shape[2]
    axis = 1 if rows or (not columns and n.shape[1] < n.shape[2]) else 2
    scale: Tensor = torch.linalg.vector_norm(n, dim=axis, keepdim=True)
    scale = scale / (torch.linalg.vector_norm(h, dim=axis, keepdim=True) + 1e-8)
    return u, (g - inside) * scale, m, v
