"""RACS."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core.rules import Value, lerp, maximum, mean, norm, sqrt, square, stacked
from optim_core_second_order.shapes import Shape


def _columns(shape: Shape, group: Mapping[str, Any]) -> Shape:
    """A number for each column of the matrix."""
    del group
    return (math.prod(shape[1:]),)


class RACS(RuleOptimizer):
    """Scales of rows and columns in the place of a second moment: hardly any state.

    A parameter counts as a matrix, of dimension 0 by all others (a vector as a column)::

        p = p (1 - lr weight_decay)
        s = beta s + (1 - beta) mean(g^2) of each row           starts at 0
        q = beta q + (1 - beta) mean(g^2) of each column        starts at 1
        h = g / (sqrt(s + eps) sqrt(q + eps))
        t = gamma / max(||h|| / (theta + eps), gamma)           1 in the first step
        theta = t ||h||
        p = p - lr alpha t h

    The authors published no code; this is what pytorch-optimizer makes of it, not the paper's fixed point of row and
    column scales. h is of the order of 1/|g|, so what keeps steps in bounds is that their norm grows by gamma at most:
    a parameter whose first gradient is zero, or far too small, stays slow for many steps.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.eye(2))
        >>> optimizer = RACS([w], lr=0.1, alpha=0.5)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(10)]
        >>> losses[-1] < 0.5 * losses[0]
        True

    Source: Gong et al., Towards Efficient Optimizer Design for LLM via Structured Fisher Approximation with a Low-Rank
    Extension, 2025, https://arxiv.org/abs/2502.07752; as in pytorch-optimizer.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-2, 10.0))
    beta: float = hyper(0.9, "decay of the averages of rows and columns", ge=0, lt=1)
    alpha: float = hyper(0.05, "factor of the step", ge=0)
    gamma: float = hyper(1.01, "largest growth of the step's norm", ge=1)
    weight_decay: float = decoupled(0.0)
    decoupled_weight_decay: bool = hyper(True, "shrink p, instead of adding the decay to g")
    eps: float = hyper(1e-8, "added under the roots, and to theta", gt=0)

    s = state("averages of g squared over rows", level="row")
    q = state("averages of g squared over columns", start=1.0, shape=_columns)
    theta = state("norm of the last h, as limited", level="tensor")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        s: Value,
        q: Value,
        theta: Value,
        *,
        lr: Value,
        beta: Value,
        alpha: Value,
        gamma: Value,
        eps: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        s = lerp(mean(square(g), over="row"), s, beta)
        h, q = _by_columns(g, q, beta=beta, eps=eps)
        h = h / sqrt(s + eps)
        N = norm(h)
        t = gamma / maximum(N / (theta + eps), gamma) if step > 1 else 1
        return p - lr * alpha * t * h, s, q, N * t


@stacked("element", "q")
def _by_columns(g: Tensor, q: Tensor, *, beta: float, eps: float) -> tuple[Tensor, Tensor]:
    """g / sqrt(q + eps), and q with this gradient in it."""
    G = g.reshape(len(g), -1, q[0].numel())
    q = beta * q + (1 - beta) * G.square().mean(1)
    return (G / (q + eps).sqrt().unsqueeze(1)).reshape(g.shape), q
