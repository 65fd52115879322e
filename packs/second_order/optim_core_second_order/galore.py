"""GaLore."""

from __future__ import annotations

from torch import Tensor

from optim_core import hyper
from optim_core.rules import Value, stacked
from optim_core_second_order.low_rank import LowRankAdamW, adam, back, step_size, subspace, within


class GaLore(LowRankAdamW):
    """AdamW in a subspace of each matrix's gradient: averages of rank r, a step of rank r.

    Every ``update_proj_gap`` steps, the first one included, the leading r singular vectors of the gradient become the
    basis: R^T on the right of a tall matrix, L on the left of a wide one ("std"). With L or R the identity where there
    is no projection, s = lr sqrt(1 - beta2^t) / (1 - beta1^t)::

        h = L^T g R^T
        m = beta1 m + (1 - beta1) h
        v = beta2 v + (1 - beta2) h^2
        p = p - s scale L (m / (sqrt(v) + eps)) R
        p = p - lr weight_decay p

    What is not a matrix, and groups with ``rank=None``, take plain AdamW, without ``scale``: so lr means different
    things for the two. Choose a rank below that of the gradient: in what it leaves out the basis is arbitrary. m and v
    stay as they are when the basis changes. The default rank is the README's; the authors use a quarter to a half of
    the hidden size, for the matrices of attention and MLPs only.

    The authors' code takes singular vectors in float32 whatever the parameters are, and has projections of tensors of
    more dimensions, which take plain AdamW here. pytorch-optimizer changes the basis one step earlier.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, 1.0], [0.0, 2.0], [1.0, 1.0]]))
        >>> optimizer = GaLore([w], lr=0.1, rank=1, scale=1.0)
        >>> loss = optimizer.minimize(lambda: w.square().sum())
        >>> optimizer.state[w]["exp_avg"].shape
        torch.Size([3, 1])

    Source: Zhao et al., GaLore: Memory-Efficient LLM Training by Gradient Low-Rank Projection, 2024, Algorithm 2,
    https://arxiv.org/abs/2403.03507; order of decay and eps as in the authors' code.
    """

    rank: int | None = hyper(128, "dimension of the subspace; None for plain AdamW", ge=1)
    scale: float = hyper(0.25, "factor of the step of a projected parameter", ge=0)
    proj_type: str = hyper("std", "which side is projected", choices=("std", "reverse_std", "right", "left", "full"))

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        projection: Value | None,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        weight_decay: Value,
        correct_bias: bool,
        update_proj_gap: Value,
        rank: Value | None,
        scale: Value,
        proj_type: str,
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        if projection is None:
            u, m, v = adam(g, exp_avg, exp_avg_sq, betas=betas, eps=eps)
        else:
            if (step - 1) % update_proj_gap == 0:
                projection = subspace(g, rank=rank, proj_type=proj_type)
            how = {"rank": rank, "proj_type": proj_type}
            u, m, v = _adam_within(g, exp_avg, exp_avg_sq, projection, betas=betas, eps=eps, **how)
            u = scale * u
        p = p - step_size(lr, betas, step, correct_bias=correct_bias) * u
        return p - lr * weight_decay * p, m, v, projection


@stacked("element", "m", "v")
def _adam_within(
    g: Tensor,
    m: Tensor,
    v: Tensor,
    projection: list[Tensor],
    *,
    betas: tuple[float, float],
    eps: float,
    rank: int,
    proj_type: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Adam's direction within the subspace, brought back; and the averages."""
    n, m, v = adam(within(g, projection, rank=rank, proj_type=proj_type), m, v, betas=betas, eps=eps)
    return back(n, projection, g.shape[1:], rank=rank, proj_type=proj_type), m, v
