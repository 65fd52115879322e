"""REKLS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from optim_core import decoupled, hyper, state
from optim_core.rules import Value, lerp, root, square, stacked
from optim_core_second_order.hidden_matrices import HiddenMatrices
from optim_core_second_order.roots import eigh
from optim_core_second_order.rotation import View, rot, unrot
from optim_core_second_order.shapes import Shape, matrix_of

_HOW = {"max_precond_dim": 2**62, "as_matrix": True}


def _sides(shape: Shape, group: Mapping[str, Any]) -> list[Shape] | None:
    del group
    return [(d, d) for d in matrix_of(shape)] if len(shape) > 1 else None


def _values(shape: Shape, group: Mapping[str, Any]) -> list[Shape] | None:
    del group
    return [(d,) for d in matrix_of(shape)] if len(shape) > 1 else None


class REKLS(HiddenMatrices):
    """KL-SOAP that takes fresh eigenvectors at every step, with the gradient at hand in them.

    For hidden matrices (m x n); a weight of more dimensions counts as one, of dimension 0 by all others; AdamW gets
    everything else, as in :class:`Muon`. E_i, Q_i are eigenvalues (at least eps) and eigenvectors of GG_i from the step
    before (0 and the identity in the first), c = (1 - shampoo_beta) / (1 - shampoo_beta^t)::

        GG_1 = GG_1 + c (g Q_2 E_2^-1 Q_2^T g^T / n - GG_1)
        GG_2 = GG_2 + c (g^T Q_1 E_1^-1 Q_1^T g / m - GG_2)
        E_i, Q_i = those of the new GG_i                           the average of rot(g) is turned along
        rot(g) = Q_1^T g Q_2; Adam in the basis, with betas and eps
        p = p (1 - lr weight_decay) - lr unrot(Adam's direction)

    With the default eps, 1e-8, the first GG_i are of the order of 1/eps and hardly invertible: two machines, even in
    float64, soon part. Take 1e-2 where results have to be the same again. Cubic cost in both sides at every step.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.eye(2))
        >>> optimizer = REKLS([w], lr=0.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(10)]
        >>> losses[-1] < 0.5 * losses[0]
        True

    Source: Lin et al., Understanding and Improving Shampoo and SOAP via Kullback-Leibler Minimization, 2025,
    https://arxiv.org/abs/2509.03378; in the form of Emerging-Optimizers.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(3e-4, 3e-2))
    betas: tuple[float, float] = hyper((0.9, 0.95), "decay of the averages of rot(g) and of its square", ge=0, lt=1)
    shampoo_beta: float = hyper(0.95, "decay of the matrices", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root, and least eigenvalue", gt=0)
    weight_decay: float = decoupled(0.01)

    rotated_avg = state("average of rot(g), in the basis")
    rotated_sq = state("average of rot(g) squared, in the bases of their steps")
    GG = state("the matrices", shape=_sides)
    Q = state("their eigenvectors", shape=_sides)
    eigenvalues = state("their eigenvalues", shape=_values)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        rotated_avg: Value,
        rotated_sq: Value,
        GG: Value,
        Q: Value,
        eigenvalues: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        shampoo_beta: Value,
        eps: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        (beta1, beta2), m = betas, rotated_avg
        if step == 1:
            Q = _identities(Q)
        else:
            m = unrot(m, Q, **_HOW)
        share = (1 - shampoo_beta) / (1 - shampoo_beta**step)
        GG = _factors(GG, Q, eigenvalues, g, share=share, eps=eps)
        eigenvalues, Q = _eigen(GG)
        m = m if step == 1 else rot(m, Q, **_HOW)
        G = rot(g, Q, **_HOW)
        m = lerp(G, m, beta1)
        v = lerp(square(G), rotated_sq, beta2)
        u = m / (1 - beta1**step) / root(v, eps, 1 - beta2**step)
        return p - lr * unrot(u, Q, **_HOW), m, v, GG, Q, eigenvalues


@stacked("own")
def _identities(Q: list[Tensor]) -> list[Tensor]:
    return [torch.eye(B.shape[1], dtype=B.dtype, device=B.device).expand_as(B) for B in Q]


@stacked("own")
def _factors(
    GG: list[Tensor], Q: list[Tensor], eigenvalues: list[Tensor], g: Tensor, *, share: float, eps: float
) -> list[Tensor]:
    """The matrices with a gradient in them, each whitened by the other."""
    halves = [B * e.clamp(min=eps).rsqrt().unsqueeze(1) for B, e in zip(Q, eigenvalues, strict=True)]
    unfolding = View(g.shape[1:], _HOW).unfolded(g)
    whitened = [G @ half / half.shape[1] ** 0.5 for G, half in zip(unfolding, reversed(halves), strict=True)]
    return [torch.baddbmm(M, G, G.mT, beta=1 - share, alpha=share) for M, G in zip(GG, whitened, strict=True)]


@stacked("own", "own")
def _eigen(GG: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Eigenvalues, descending, and eigenvectors."""
    found = [eigh(M) for M in GG]
    return [values.flip(1) for values, _ in found], [vectors.flip(2) for _, vectors in found]
