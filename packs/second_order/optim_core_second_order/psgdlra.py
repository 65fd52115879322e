"""PSGDLRA."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optim_core import decoupled, extra, hyper, state
from optim_core.methods import tensors_of
from optim_core.rules import Value, amax, clamp, lerp, log, mean, sign, square, stacked, tanh, where
from optim_core_second_order.psgd import Rhythm, damped, folded
from optim_core_second_order.shapes import Shape, lra_factor


def _factor(shape: Shape, group: Mapping[str, Any]) -> list[Shape]:
    return [lra_factor(shape, group["rank"])]


class PSGDLRA(Rhythm):
    """A preconditioner of a diagonal and a matrix of low rank, fitted on the way so that it whitens the gradient.

    P = Q^T Q with Q = (I + U V^T) diag(d), one for each tensor, which is a vector of N elements; U and V have ``rank``
    columns. z is normal noise, v * w the product by elements::

        m = average of g                                                  bias-corrected
        h = m + (1e-9 + 1.2e-7 |m|) z                                     where Q is fitted in this step
        U, V brought to one norm, U V^T staying
        a = Q h;   b = Q^-T z
        n = d * (P h * h - z * P^-1 z)
        d = d - precond_lr n / s                    s^2 = largest of ((P h)^2 + z^2) * ((P^-1 z)^2 + h^2)
        U = U + precond_lr (b y^T - a x^T) (I + V^T U) / t                in every other fit; x = V^T a, y = V^T b
        V = V + precond_lr ((b + V y) y^T - (a + V x) x^T) / t            in the others; x = U^T a, y = U^T b
        u = P m                                                           with Q as it was before, if ``delayed``
        u = c (0.1 sign(u) log(1 + |u / c|) + 0.9 tanh(u / c))            trust_region_clip: c = 1.5, and at most 2
        p = p (1 - lr weight_decay) - lr u

    with t = |a| |V x| + |b| |V y| for U, and U in the place of V for V. A fit goes by d from before it, and none is
    made where I + V^T U is singular.

    U and V start as normal noise over sqrt(N (rank + 10)), the same in each run; d from the first gradient, or as
    ``precond_init_scale``. ``rank`` of None is log2 N, rounded, at least 1. Q is fitted in each of the first 1000
    steps, then in ever fewer, down to 3 in a hundred; or at ``preconditioner_update_probability``, which is a rhythm in
    truth. ``momentum_into_precond_update=False`` fits it to g. Memory: 2 rank + 2 copies of the parameters.

    Heavyball's has one Q for all parameters together by default; this is its multi_tensor=False. Its step has d moved
    the wrong way, though it is the right d that it keeps.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, -1.0], [2.0, 0.5]]))
        >>> optimizer = PSGDLRA([w], lr=0.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(60)]
        >>> losses[-1] < 0.2 * losses[0]
        True

    Source: Li, Preconditioned Stochastic Gradient Descent, 2015, https://arxiv.org/abs/1512.04202; the approximation of
    low rank from a description of heavyball's code.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    beta: float = hyper(0.9, "decay of the average of g", ge=0, lt=1)
    weight_decay: float = decoupled(0.0)
    rank: int | None = hyper(None, "columns of U and V; None: log2 of the number of elements", ge=1)
    precond_lr: float = hyper(0.1, "step size of Q", ge=0)
    precond_init_scale: float | None = hyper(None, "first d; None: from the first g", gt=0)
    precond_init_scale_scale: float = hyper(1.0, "factor of a first d from g", gt=0)
    preconditioner_update_probability: float | None = hyper(
        None, "fits of Q a step, None for a schedule", ge=0, le=1, common=True
    )
    momentum_into_precond_update: bool = hyper(True, "fit Q to the average of g, not to g")
    delayed: bool = hyper(False, "take steps with Q as it was before the fit")
    trust_region_clip: bool = hyper(True, "compress steps")
    eps: float = hyper(1e-8, "least value of s and t", gt=0)

    exp_avg = state("average of g, corrected")
    d = state("the diagonal")
    U = state("columns of the left factor", shape=_factor)
    V = state("columns of the right factor", shape=_factor)
    fits = state("sum of the probabilities so far", level="whole")
    for_u = extra("normal noise in a step that fits d and U; None in the others")
    for_v = extra("normal noise in a step that fits d and V; None in the others")

    def start_state(self, p: Tensor, group: Mapping[str, Any], number: int) -> bool:
        """Draw the first U and V."""
        first = super().start_state(p, group, number)
        if first:
            for name, seed in (("U", 0), ("V", 1)):
                for factor in tensors_of(self.state[p], name):
                    n, rank = factor.shape
                    generator = torch.Generator("cpu").manual_seed(seed)
                    noise = torch.randn(n, rank, dtype=torch.float64, device="cpu", generator=generator)
                    factor.copy_(noise / math.sqrt(n * (rank + 10)))
        return first

    def extras(self, params: Sequence[Tensor]) -> Mapping[str, Sequence[Tensor]]:
        """Noise, in a step that fits Q."""
        fit = self.next_fit()
        return {} if fit is None else {"for_v" if fit % 2 else "for_u": [self.draw(p) for p in params]}

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        for_u: Value | None,
        for_v: Value | None,
        exp_avg: Value,
        d: Value,
        U: Value,
        V: Value,
        *,
        lr: Value,
        beta: Value,
        precond_lr: Value,
        precond_init_scale: Value | None,
        precond_init_scale_scale: Value,
        momentum_into_precond_update: bool,
        delayed: bool,
        trust_region_clip: bool,
        eps: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        m = lerp(g, exp_avg, folded(beta, step))
        if step == 1:
            d = d + (_scale(g) * precond_init_scale_scale if precond_init_scale is None else precond_init_scale)
        z, before = (for_v if for_u is None else for_u), (d, U, V)
        if z is not None:
            h = damped(m if momentum_into_precond_update else g, z, 1e-9)
            d, U, V = _fitted(h, z, d, U, V, left=for_u is not None, precond_lr=precond_lr, eps=eps)
        u = _preconditioned(m, *(before if delayed else (d, U, V)))
        if trust_region_clip:
            x = u / 1.5
            u = clamp(1.5 * (0.1 * sign(x) * log(1 + abs(x)) + 0.9 * tanh(x)), -2.0, 2.0)
        return p - lr * u, m, d, U, V


def _scale(g: Value) -> Value:
    """mean(g^4)^(-1/16), with the largest element taken out; 1 for a first gradient of zero."""
    largest = amax(abs(g))
    safe = where(largest > 0, largest, 1.0)
    fourth = mean(square(square(g / safe)))
    return where(largest > 0, safe**-0.25 * where(largest > 0, fourth, 1.0) ** (-1 / 16), 1.0)


# functions of stacks ----------------------------------------------------------------------------------------------
def _plus(U: Tensor, V: Tensor, x: Tensor) -> Tensor:
    """(I + U V^T) x, for columns x."""
    return x + U @ (V.mT @ x)


@stacked("element")
def _preconditioned(m: Tensor, d: Tensor, U: list[Tensor], V: list[Tensor]) -> Tensor:
    """P m."""
    (left,), (right,) = U, V
    diagonal = d.reshape(len(d), -1, 1)
    x = _plus(left, right, diagonal * m.reshape(diagonal.shape))
    return (diagonal * _plus(right, left, x)).reshape(m.shape)


@stacked("element", "own", "own")
def _fitted(
    h: Tensor, z: Tensor, d: Tensor, U: list[Tensor], V: list[Tensor], *, left: bool, precond_lr: float, eps: float
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The preconditioner after a step towards P h h^T P = z z^T, U or V with the diagonal."""
    (u,), (v,) = U, V
    c = (u.square().sum((1, 2), keepdim=True) / v.square().sum((1, 2), keepdim=True)) ** 0.25
    u, v = u / c, v * c
    dia = d.reshape(len(d), -1, 1)
    h, z = h.reshape(dia.shape), z.reshape(dia.shape)
    K = torch.eye(u.shape[2], dtype=u.dtype, device=u.device) + v.mT @ u
    a = _plus(u, v, dia * h)
    Ph = _plus(v, u, a)  # without the diagonal
    b = z / dia
    b = b - v @ torch.linalg.solve_ex(K.mT, u.mT @ b)[0]
    w = b - u @ torch.linalg.solve_ex(K, v.mT @ b)[0]
    s = (((dia * Ph).square() + z.square()) * ((w / dia).square() + h.square())).amax(1, keepdim=True).sqrt()
    new = dia - precond_lr / s.clamp(min=eps) * dia * (dia * Ph * h - z * (w / dia))
    along, other = (v, u) if left else (u, v)
    x, y = along.mT @ a, along.mT @ b
    length = torch.linalg.vector_norm
    t = length(a, dim=1, keepdim=True) * length(along @ x, dim=1, keepdim=True)
    t = (t + length(b, dim=1, keepdim=True) * length(along @ y, dim=1, keepdim=True)).clamp(min=eps)
    if left:
        other = other + precond_lr / t * (b @ (y.mT @ K) - a @ (x.mT @ K))
        results = new, other, v
    else:
        results = new, u, other + precond_lr / t * ((b + v @ y) @ y.mT - (a + v @ x) @ x.mT)
    # a singular K, or a diagonal that has met zero, leaves everything as it was
    fine = torch.stack([r.isfinite().flatten(1).all(1) for r in results]).all(0).reshape(-1, 1, 1)
    new, u, v = (torch.where(fine, r, old) for r, old in zip(results, (dia, U[0], V[0]), strict=True))
    return new.reshape(d.shape), [u], [v]
