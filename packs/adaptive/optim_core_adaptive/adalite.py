"""Adalite."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, denominator, lerp, maximum, norm, size, sqrt, square, stacked, where


def _factored(*, squares: bool) -> Any:
    """The shapes of an average: its row and column vectors (and their scale), where there are rows and columns."""

    def shapes(shape: tuple[int, ...], group: Any) -> Any:
        del group
        if len(shape) < 2:
            return shape
        rows, columns = shape[0], math.prod(shape[1:])
        return [(rows, 1), (1, columns), *(() if squares else ((1, 1),))]

    return shapes


class Adalite(RuleOptimizer):
    """Adam with a trust ratio that keeps vectors of its averages, not matrices: hardly any memory.

    Tensors count as matrices of size(0) rows; softmax is over the rows' or the columns' means. In each step::

        g = g max(||p|| / max(||g||, g_norm_min), ratio_min)              not for single numbers
        v = V0 V1 / max(sum(V0), eps2);  m = C s R
        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) (g - m)^2
        W = softmax(rows of v) softmax(columns of v);  m = m + (1 - W)(g - m)
        u = (beta1 m + (1 - beta1) g) / sqrt(v / (1 - beta2^t) + eps)
        p = p - lr (u + weight_decay p)
        V0, V1 = row sums of v, column sums of v / max(sum(v), eps2)
        C, R = row sums of m softmax(columns of v / tau), column sums of m softmax(rows of v / tau)
        s = C' m R' / max(C'C R R', eps2)

    Vectors keep m and v as they are, without W. V1 is normalised already, so that v comes back divided by its sum once
    too often: it is in the author's code, and decides about the steps, so it is kept. W is small for any large matrix:
    m is then almost the present gradient. Steps are proportional to ||p||. There is no paper; the author reports lr
    around 1e-4 as stable, and NaN at 1e-2.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = Adalite([w], lr=0.01, weight_decay=0).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.998, -1.998]

    Source: https://github.com/VatsaDev/adalite, class Adalite.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-2))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of (g - m)^2", ge=0, lt=1)
    eps: float = hyper(1e-6, "added inside the root", gt=0)
    weight_decay: float = hyper(1e-2, "decoupled decay, times lr", ge=0)
    g_norm_min: float = hyper(1e-10, "least norm of g in the trust ratio", gt=0)
    ratio_min: float = hyper(1e-4, "least trust ratio", ge=0)
    tau: float = hyper(1.0, "temperature of the weights by which m is made vectors", gt=0)
    eps2: float = hyper(1e-10, "least denominator of the vectors", gt=0)

    m_avg = state("average of g: C, R, s", shape=_factored(squares=False))
    v_avg = state("average of (g - m)^2: V0, V1", shape=_factored(squares=True))

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        m_avg: Value,
        v_avg: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        weight_decay: Value,
        g_norm_min: Value,
        ratio_min: Value,
        tau: Value,
        eps2: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        if p.ndim:
            ratio = maximum(norm(p) / maximum(norm(g), g_norm_min), ratio_min)
            g = g * (where(size(g) > 1, ratio, 1.0) if p.ndim == 1 else ratio)
        matrix = p.ndim > 1
        m, v = _rebuilt(m_avg, v_avg, g, eps2=eps2) if matrix else (m_avg, v_avg)
        m = lerp(g, m, beta1)
        v = lerp(square(g - m), v, beta2)
        if matrix:
            m = lerp(g, m, _weights(v))
        c2 = 1 - beta2**step
        u = lerp(g, m, beta1) / denominator(sqrt(v / c2 + eps), bare=sqrt(v), correction=c2)
        if matrix:
            m, v = _vectors(m, v, tau=tau, eps2=eps2)
        return p - lr * (u + weight_decay * p), m, v


@stacked("element", "element")
def _rebuilt(m: list[Tensor], v: list[Tensor], g: Tensor, *, eps2: float) -> tuple[Tensor, Tensor]:
    """m and v as matrices."""
    C, R, s = m
    V0, V1 = v
    whole = V0.sum(dim=1, keepdim=True).clamp(min=eps2)
    return (C @ s @ R).reshape(g.shape), (V0 @ V1 / whole).reshape(g.shape)


@stacked("element")
def _weights(v: Tensor) -> Tensor:
    """W, the product of two softmaxes."""
    rows, columns = _softmaxes(v.flatten(2), 1.0)
    return (rows * columns).reshape(v.shape)


@stacked("own", "own")
def _vectors(m: Tensor, v: Tensor, *, tau: float, eps2: float) -> tuple[list[Tensor], list[Tensor]]:
    """C, R, s of m; V0, V1 of v."""
    m, v = m.flatten(2), v.flatten(2)
    rows, columns = _softmaxes(v, tau)
    V0, V1 = v.sum(dim=2, keepdim=True), v.sum(dim=1, keepdim=True)
    C, R = (m * columns).sum(dim=2, keepdim=True), (m * rows).sum(dim=1, keepdim=True)
    s = C.mT @ m @ R.mT / ((C.mT @ C) * (R @ R.mT)).clamp(min=eps2)
    return [C, R, s], [V0, V1 / v.sum(dim=(1, 2), keepdim=True).clamp(min=eps2)]


def _softmaxes(v: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """Those of the means of rows, and of columns."""
    rows, columns = v.mean(dim=2, keepdim=True) / tau, v.mean(dim=1, keepdim=True) / tau
    return torch.softmax(rows, dim=1), torch.softmax(columns, dim=2)
