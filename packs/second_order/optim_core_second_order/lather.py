"""LATHER."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optim_core import hyper, state
from optim_core.rules import Value, clamp, denominator, lerp, log, maximum, sign, sqrt, square, stacked, tanh
from optim_core_second_order.axes import along, solved, unfolded
from optim_core_second_order.psgd import (
    PSGD,
    balanced,
    begun,
    damped,
    factors_of,
    folded,
    raised,
    spectral_norm,
    viewed,
)
from optim_core_second_order.roots import eigh
from optim_core_second_order.shapes import Shape


def _bases(shape: Shape, group: Mapping[str, Any]) -> list[Shape] | None:
    """A basis for each axis with a full factor."""
    return [factor for factor in factors_of(shape, group) if len(factor) == 2] or None


class LATHER(PSGD):
    """Adam in the eigenbasis of PSGD's preconditioner: SOAP, with Kron's factors in the place of Gram matrices.

    Q has an upper triangular factor for each axis, E_j are the eigenvectors of Q_j^T Q_j, rot(x) applies E_j^T along
    every axis, unrot(x) E_j. The first gradient only starts Q and E; then, t counting all gradients::

        m = b1 m + (1 - b1) rot(g);   v = b2 v + (1 - b2) rot(g)^2      b = 1 - (1 - beta) / (1 - beta^t)
        u = unrot(m / max(sqrt(v), eps))
        where Q is fitted:  G = g + (dampening + 1.2e-7 |g|) V;  A = Q G;  B = Q^-T V        V: normal noise
            T1 = mat_j(A) mat_j(A)^T;  T2 = mat_j(B) mat_j(B)^T
            Q_j = Q_j - precond_lr triu(T1 - T2) Q_j / L                L: a bound of the norm of T1 + T2 that decays
            E_j = QR(Q_j^T Q_j E_j), sorted; m is turned along
        u = 2 at most, and compressed from 1.5 on
        p = p (1 - lr weight_decay) - lr u

    What has no full factor (vectors, axes longer than ``max_size_triangular``) is not rotated. When Q is fitted, and
    ``memory_save_mode``, are as in :class:`PSGDPRO`. Since the first step is left out, while t counts it, the second
    one is about 0.74 of Adam's. This is heavyball's method; its class has no paper.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, -1.0], [2.0, 0.5]]))
        >>> optimizer = LATHER([w], lr=0.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(40)]
        >>> losses[-1] < 0.2 * losses[0]
        True

    Source: heavyball, https://github.com/HomebrewML/HeavyBall; on PSGD, Li, Preconditioned Stochastic Gradient Descent,
    2015, https://arxiv.org/abs/1512.04202.
    """

    weight_decay: float = hyper(0.0, "decoupled decay, times lr; none in the first step", ge=0)
    eps: float = hyper(1e-8, "least root", gt=0)

    exp_avg = state("average of rot(g), in the basis")
    exp_avg_sq = state("average of rot(g) squared, in the bases of their steps")
    Q_basis = state("eigenvectors of Q^T Q", shape=_bases)

    def noise_of(self, p: Tensor) -> Tensor:
        """Noise for a parameter; it is a probe, too."""
        return self.draw(p)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        noise: Value | None,
        Q: Value,
        running_lower_bound: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        Q_basis: Value | None,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        precond_lr: Value,
        precond_init_scale: Value | None,
        lower_bound_beta: Value,
        dampening: Value,
        precond_update_power_iterations: Value,
        weight_decay: Value,
        eps: Value,
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        how = {"precond_lr": precond_lr, "lower_bound_beta": lower_bound_beta}
        how["power_iterations"] = precond_update_power_iterations
        m, v, E = exp_avg, exp_avg_sq, Q_basis
        if step == 1:
            Q = begun(Q, g, scale=precond_init_scale)
        else:
            y = g if E is None else _turned(g, Q, E, back=False)
            m = lerp(y, m, folded(betas[0], step))
            v = lerp(square(y), v, folded(betas[1], step))
            u = m / denominator(maximum(sqrt(v), eps), bare=sqrt(v))
            u = (u if E is None else _turned(u, Q, E, back=True)) / 1.5
            u = 1.5 * (0.1 * sign(u) * log(1 + abs(u)) + 0.9 * tanh(u))
            p = p * (1 - lr * weight_decay) - lr * clamp(u, -2, 2)
        if noise is not None:
            Q, running_lower_bound = _fitted(Q, running_lower_bound, damped(g, noise, dampening), noise, **how)
        if E is not None and step == 1:
            E = _eigenvectors(Q)
        elif E is not None and noise is not None:
            m, E = _renewed(m, Q, E)
        return p, Q, running_lower_bound, m, v, E


@stacked("own", "own")
def _fitted(
    Q: list[Tensor],
    bounds: list[Tensor],
    G: Tensor,
    V: Tensor,
    *,
    precond_lr: float,
    lower_bound_beta: float,
    power_iterations: int,
) -> tuple[list[Tensor], list[Tensor]]:
    """Every factor after a step; all see the same A and B."""
    Q = balanced(Q)
    A, B = viewed(G), viewed(V)
    for axis, q in enumerate(Q, start=1):
        A = along(A, axis, q)
        B = along(B, axis, 1 / q) if q.ndim == 2 else solved(q.mT, B, axis)
    new, new_bounds = [], []
    for axis, (q, bound) in enumerate(zip(Q, bounds, strict=True), start=1):
        a, b = unfolded(A, axis), unfolded(B, axis)
        if q.ndim == 2:
            T1, T2 = a.square().sum(2), b.square().sum(2)
            L = raised((T1 + T2).amax(1), bound, lower_bound_beta)
            new.append(q - precond_lr * q * (T1 - T2) / L.unsqueeze(1))
        else:
            T1, T2 = a @ a.mT, b @ b.mT
            L = raised(spectral_norm(T1 + T2, power_iterations), bound, lower_bound_beta)
            new.append(q - precond_lr * (T1 - T2).triu() @ q / L.reshape(-1, 1, 1))
        new_bounds.append(L)
    return new, new_bounds


@stacked("element")
def _turned(x: Tensor, Q: list[Tensor], E: list[Tensor], *, back: bool) -> Tensor:
    """E_j^T, or E_j, along every axis with a full factor."""
    return _along_axes(x, Q, E if back else [e.mT for e in E])


@stacked("own")
def _eigenvectors(Q: list[Tensor]) -> list[Tensor]:
    """The first bases."""
    return [eigh(q.mT @ q)[1].flip(2) for q in Q if q.ndim == 3]


@stacked("element", "own")
def _renewed(m: Tensor, Q: list[Tensor], E: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """The average in the bases to come, and these: a step of the QR algorithm, sorted."""
    new = []
    for q, e in zip((q for q in Q if q.ndim == 3), E, strict=True):
        basis = torch.linalg.qr(q.mT @ (q @ e)).Q
        order = (q @ basis).square().sum(1).argsort(descending=True)
        basis = basis.gather(2, order.unsqueeze(1).expand_as(basis))
        new.append(basis * torch.where((e * basis).sum(1, keepdim=True) < 0, -1.0, 1.0).to(basis.dtype))
    return _along_axes(m, Q, [b.mT @ e for b, e in zip(new, E, strict=True)]), new


def _along_axes(x: Tensor, Q: Sequence[Tensor], matrices: Sequence[Tensor]) -> Tensor:
    y, left = viewed(x), iter(matrices)
    for axis, q in enumerate(Q, start=1):
        y = along(y, axis, next(left)) if q.ndim == 3 else y
    return y.reshape(x.shape)
