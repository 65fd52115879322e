"""NAMO."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from optim_core import hyper, state
from optim_core.rules import Value, lerp, maximum, minimum, norm, sqrt, square, stacked
from optim_core_second_order.orthogonal import Orthogonal, Orthogonalised, averaged, sides


def _columns(shape: tuple[int, ...], group: Mapping[str, Any]) -> tuple[int, ...] | None:
    return (math.prod(shape[1:]),) if group["columnwise"] else None


class NAMO(Orthogonalised):
    """Muon with Adam's step size, one for each matrix: momentum's norm over the root of the average squared norm.

    For hidden matrices; the rest of a model goes to AdamW, as in :class:`~optim_core_second_order.Muon`, with the same
    lr unless ``adam_lr`` says otherwise::

        v = beta2 v + (1 - beta2) ||g||^2
        M = momentum M + (1 - momentum) g
        u = momentum M + (1 - momentum) g              with nesterov; otherwise u = M
        a = lr sqrt(1 - beta2^t) / (1 - momentum^t) ||u|| / (sqrt(v) + eps)
        p = p (1 - weight_decay min(a, 1)) - min(a scale sqrt(max(rows, columns)), 1) orthogonal(u)

    ``columnwise`` is NAMO-D: norms, v and a are those of single columns, and ||u|| / (sqrt(v) + eps) is kept between
    clamp and 1/clamp times its mean over the columns (clamp=0: it is not).

    Decay follows a, and shrinks as gradients get noisy. No step is longer than 1 in any direction, whatever lr. The
    bias correction is that of M with nesterov, too, so that the first step is lr (1 + momentum). In the paper one bound
    is on both decay and step. A column without gradients decays with ``columnwise``, by the bound of the clamp.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, -1.0], [2.0, 0.5]]))
        >>> optimizer = NAMO([w], lr=0.5, weight_decay=0.0)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(30)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Zhang et al., Adam Improves Muon: Adaptive Moment Estimation with Orthogonalized Momentum, 2026,
    https://arxiv.org/abs/2602.17080; bounds as in the code named in the spec.
    """

    lr: float = hyper(0.01, "step size", ge=0, search=(1e-3, 1e-1))
    momentum: float = hyper(0.95, "decay of the average of g", ge=0, lt=1)
    beta2: float = hyper(0.99, "decay of the average of the squared norm", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root", ge=0)
    weight_decay: float = hyper(0.1, "decay, times the adaptive step size", ge=0)
    nesterov: bool = hyper(True, "look one gradient ahead")
    scale: float = hyper(0.2, "factor of sqrt(max(rows, columns))", ge=0)
    columnwise: bool = hyper(False, "a step size for each column")
    clamp: float = hyper(0.75, "least share of the mean that a column's ratio has, 0 for any", ge=0, le=1)

    momentum_buffer = state("average of g")
    v = state(
        "average of the squared norm", level="tensor", when=lambda group: group["use_muon"] and not group["columnwise"]
    )
    v_columns = state("averages of the squared norms of columns", shape=_columns)

    adam_share: ClassVar = 1.0

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value,
        v: Value | None,
        v_columns: Value | None,
        *,
        lr: Value,
        momentum: Value,
        beta2: Value,
        eps: Value,
        weight_decay: Value,
        nesterov: bool,
        scale: Value,
        clamp: Value,
        step: Value,
        orthogonal: Orthogonal,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        M, u = averaged(g, momentum_buffer, momentum, nesterov=nesterov)
        if v is not None:
            v = lerp(square(norm(g)), v, beta2)
            ratio = norm(u) / (sqrt(v) + eps)
        else:
            ratio, v_columns = _of_columns(g, u, v_columns, beta2=beta2, eps=eps, clamp=clamp)
        a = lr * sqrt(1 - beta2**step) / (1 - momentum**step + 1e-12) * ratio
        rows, columns = sides(p)
        decayed = p * maximum(1 - weight_decay * minimum(a, 1), 0)
        return decayed - minimum(a * scale * sqrt(maximum(rows, columns)), 1) * orthogonal(u), M, v, v_columns


@stacked("element", "own")
def _of_columns(g: Tensor, u: Tensor, v: Tensor, *, beta2: float, eps: float, clamp: float) -> tuple[Tensor, Tensor]:
    """The ratio of each column, at each of its elements; and v."""
    v = torch.lerp(g.flatten(2).square().sum(1), v, beta2)
    ratio = torch.linalg.vector_norm(u.flatten(2), dim=1) / (v.sqrt() + eps)
    if clamp:
        mean = ratio.mean(1, keepdim=True)
        ratio = torch.minimum(torch.maximum(ratio, mean * clamp), mean / clamp)
    return ratio.unsqueeze(1).expand(-1, g.shape[1], -1).reshape(g.shape), v
