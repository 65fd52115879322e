"""CAME."""

from __future__ import annotations

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core.rules import Value, lerp, maximum, sqrt, square
from optim_core_adaptive.factored import averaged, column_means, inverse_root, rms, row_means


class CAME(RuleOptimizer):
    """AdaFactor whose average of updates counts for less where updates stray from it; memory of Adam without v.

    With RMS(x) the root mean square of a whole tensor; for fewer than two dimensions v = b2 v + (1 - b2)(g^2 + eps1),
    u = g / sqrt(v) before the clipping, and no confidence: p = p - lr m::

        R = b2 R + (1 - b2) mean(g^2 + eps1, last dimension)
        C = b2 C + (1 - b2) mean(g^2 + eps1, last but one dimension)
        u = g / sqrt(R C / mean(R))
        u = u / max(1, RMS(u) / clip_threshold)
        m = b1 m + (1 - b1) u
        R', C': as R and C, b3 for b2, of (u - m)^2 + eps2
        p = p (1 - lr weight_decay) - lr m / sqrt(R' C' / mean(R'))

    No average is corrected: the first steps of matrices are about 1 / sqrt(1 - b3) = 100 times longer than
    AdaFactor's, so warm up. All dimensions but the last two count as a batch: a convolution saves nothing.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = CAME([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.99, -1.99]

    Source: Luo et al., CAME: Confidence-guided Adaptive Memory Efficient Optimization, 2023, Algorithm 2,
    https://arxiv.org/abs/2307.02047.
    """

    lr: float = hyper(2e-4, "step size", ge=0, search=(1e-5, 1e-2))
    betas: tuple[float, float, float] = hyper(
        (0.9, 0.999, 0.9999), "decay of the averages of updates, g squared, and (u - m) squared", ge=0, lt=1
    )
    eps: tuple[float, float] = hyper((1e-30, 1e-16), "added to g squared; to (u - m) squared", ge=0)
    clip_threshold: float = hyper(1.0, "largest RMS of u", gt=0)
    weight_decay: float = decoupled(0.0)

    exp_avg = state("average of updates")
    exp_avg_sq_row = row_means("R")
    exp_avg_sq_col = column_means("C")
    exp_avg_res_row = row_means("R'")
    exp_avg_res_col = column_means("C'")
    exp_avg_sq = state("v", shape=lambda shape, group: shape if len(shape) < 2 else None)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq_row: Value | None,
        exp_avg_sq_col: Value | None,
        exp_avg_res_row: Value | None,
        exp_avg_res_col: Value | None,
        exp_avg_sq: Value | None,
        *,
        lr: Value,
        betas: tuple[Value, Value, Value],
        eps: tuple[Value, Value],
        clip_threshold: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        b1, b2, b3 = betas
        R, C, v = exp_avg_sq_row, exp_avg_sq_col, exp_avg_sq
        R_res, C_res = exp_avg_res_row, exp_avg_res_col
        if v is not None:
            v = lerp(square(g) + eps[0], v, b2)
            u = g / sqrt(v)
        else:
            R, C = averaged(R, C, square(g) + eps[0], b=b2)
            u = g * inverse_root(R, C)
        u = u / maximum(1, rms(u) / clip_threshold)
        m = n = lerp(u, exp_avg, b1)
        if v is None:
            R_res, C_res = averaged(R_res, C_res, square(u - m) + eps[1], b=b3)
            n = m * inverse_root(R_res, C_res)
        return p - lr * n, m, R, C, R_res, C_res, v
