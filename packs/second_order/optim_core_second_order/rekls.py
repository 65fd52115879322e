"""REKLS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from optim_core import decoupled, hyper, state
from optim_core.rules import Value, lerp, sqrt, square, stacked
from optim_core_second_order.hidden_matrices import HiddenMatrices
from optim_core_second_order.roots import eigh
from optim_core_second_order.shapes import Shape, matrix_view


def _sides(shape: Shape, group: Mapping[str, Any]) -> list[Shape]:
    del group
    return [(d, d) for d in matrix_view(shape)]


def _diagonals(shape: Shape, group: Mapping[str, Any]) -> list[Shape]:
    del group
    return [(d,) for d in matrix_view(shape)]


class REKLS(HiddenMatrices):
    """Adam in the eigenbasis of KL-Shampoo's matrices, renewed at every step with the gradient at hand.

    For hidden matrices (m x n), which a weight of more dimensions is, too, of dimension 0 by all others; AdamW has the
    rest, as for :class:`~optim_core_second_order.muon.Muon`, at the same lr unless ``adam_lr`` says otherwise. E_i are
    the eigenvalues of GG_i, at least eps; GG starts at 0, Q_i at the identity, t counts from 1::

        c = (1 - shampoo_beta) / (1 - shampoo_beta^t)
        GG_1 = GG_1 + c (g Q_2 E_2^-1 Q_2^T g^T / n - GG_1)
        GG_2 = GG_2 + c (g^T Q_1 E_1^-1 Q_1^T g / m - GG_2)         with Q_1 and E_1 of the step before
        Q_i, E_i = eigenvectors and eigenvalues of GG_i             largest first; M is turned into the new basis
        G = Q_1^T g Q_2
        M = beta1 M + (1 - beta1) G;   V = beta2 V + (1 - beta2) G^2
        p = p (1 - lr weight_decay) - lr Q_1 ((M / (1 - beta1^t)) / (sqrt(V / (1 - beta2^t)) + eps)) Q_2^T

    V stays in its places, whatever the order of the eigenvalues becomes. At t = 1 the eigenvalues are 0, so that
    GG_i is g g^T / (n eps): with the default eps two machines part after some steps, by rounding alone; from 1e-2 on
    they stay together. Two sets of eigenvectors a step: cubic cost in both sides.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.diag(torch.tensor([3.0, 1.0])))
        >>> optimizer = REKLS([w], lr=0.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(40)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Lin et al., Understanding and Improving Shampoo and SOAP via Kullback-Leibler Minimization, 2025,
    https://arxiv.org/abs/2509.03378; order of the steps and eps as in Emerging-Optimizers, whose name it is.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.95), "decay of the averages of G and of its square", ge=0, lt=1)
    shampoo_beta: float = hyper(0.95, "decay of the matrices, corrected", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root; least eigenvalue", gt=0)
    weight_decay: float = decoupled(0.01)

    rotated_avg = state("M")
    rotated_sq = state("V")
    Q = state("bases, which are kept with eigenvalues in the place of GG", shape=_sides)
    eigenvalues = state("E before eps bounds it", shape=_diagonals)

    adam_share: ClassVar[float] = 1.0

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        rotated_avg: Value,
        rotated_sq: Value,
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
        beta1, beta2 = betas
        share = (1 - shampoo_beta) / (1 - shampoo_beta**step)
        M = rotated_avg if step == 1 else _turned(rotated_avg, Q, back=True)
        Q, eigenvalues = _followed(Q, eigenvalues, g, share=share, eps=eps, first=step == 1)
        M = lerp(_turned(g, Q), _turned(M, Q), beta1)
        V = lerp(square(_turned(g, Q)), rotated_sq, beta2)
        u = (M / (1 - beta1**step)) / (sqrt(V / (1 - beta2**step)) + eps)
        return p - lr * _turned(u, Q, back=True), M, V, Q, eigenvalues


@stacked("own", "own")
def _followed(
    Q: list[Tensor], E: list[Tensor], g: Tensor, *, share: float, eps: float, first: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """Bases and eigenvalues, largest first, of the matrices with a gradient in them, each whitened by the other.

    The matrices are made anew of what is kept. Rounded to float32 they would lose eigenvalues of the size of eps
    beside the largest, some |g|^2 / (n eps).
    """
    G = g.flatten(2).double()
    Q, E = ([x.double() for x in kept] for kept in (Q, E))
    bases, values = [], []
    for i, X in enumerate((G, G.mT)):
        half = X if first else X @ Q[1 - i]
        seen = half / E[1 - i].clamp(min=eps).unsqueeze(1) @ half.mT / X.shape[2]
        M = Q[i] * E[i].unsqueeze(1) @ Q[i].mT
        e, B = eigh(M + share * (seen - M))
        bases.append(B.flip(2).to(g.dtype))
        values.append(e.flip(1).to(g.dtype))
    return bases, values


@stacked("element")
def _turned(x: Tensor, Q: list[Tensor], *, back: bool = False) -> Tensor:
    """Q_1^T x Q_2, or Q_1 x Q_2^T."""
    left, right = Q
    X = x.flatten(2)
    return (left @ X @ right.mT if back else left.mT @ X @ right).reshape(x.shape)
