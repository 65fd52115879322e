"""Iso."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from optim_core import hyper, state
from optim_core.rules import Value, stacked
from optim_core_second_order.hidden_matrices import HiddenMatrices
from optim_core_second_order.shapes import Shape, matrix_view
from optim_core_second_order.singular import svd


def _left(shape: Shape, group: Mapping[str, Any]) -> list[Shape]:
    del group
    view = matrix_view(shape)
    return [(view[0], min(view))]


def _right(shape: Shape, group: Mapping[str, Any]) -> list[Shape]:
    del group
    view = matrix_view(shape)
    return [(view[1], min(view))]


def _values(shape: Shape, group: Mapping[str, Any]) -> list[Shape]:
    del group
    return [(min(matrix_view(shape)),)]


class Iso(HiddenMatrices):
    """Turns the singular vectors of a matrix, and never touches its singular values.

    For hidden matrices, which a weight of more dimensions is, too, of dimension 0 by all others; AdamW has the rest, as
    for :class:`~optim_core_second_order.muon.Muon`. p = U S V^T is taken apart in the first step::

        a = momentum a + g V S
        b = momentum b + g^T U S
        U = ret(U, a)                       "qr": the Q factor of U - lr a, R having a positive diagonal
        V = ret(V, b)                       "polar": the orthogonal factor of U - lr a
        p = U S V^T                         "cayley": (I - lr/2 K)^-1 (I + lr/2 K) U,  K = U a^T - a U^T

    Meant for fine-tuning: what is zero or of low rank stays so, and there is no weight decay. Changes of p from outside
    are undone by the next step. Equal singular values leave a rotation free, which then depends on the machine; "polar"
    lets vectors of singular values 0 take part, which are as arbitrary. "cayley" solves a system of the size of each
    side and is slow. Gradients grow with singular values, and lr goes down with them.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.diag(torch.tensor([2.0, 1.0])))
        >>> target = torch.tensor([[0.0, 2.0], [-1.0, 0.0]])
        >>> optimizer = Iso([w], lr=0.02)
        >>> for _ in range(100):
        ...     loss = optimizer.minimize(lambda: (w - target).square().sum())
        >>> bool(loss < 0.1), [round(x, 3) for x in torch.linalg.svdvals(w.detach()).tolist()]
        (True, [2.0, 1.0])

    Source: ISO: An RLVR-Native Optimization Stack, 2026, https://arxiv.org/abs/2607.19331; as in the code named in the
    spec.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-3, 1.0))
    momentum: float = hyper(0.9, "decay of the sums of gradients", ge=0, lt=1)
    retraction: str = hyper("qr", "how vectors are made orthogonal again", choices=("qr", "polar", "cayley"))

    u = state("U", shape=_left)
    sigma = state("S", shape=_values)
    v = state("V", shape=_right)
    momentum_u = state("a", shape=_left)
    momentum_v = state("b", shape=_right)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        u: Value,
        sigma: Value,
        v: Value,
        momentum_u: Value,
        momentum_v: Value,
        *,
        lr: Value,
        momentum: Value,
        retraction: str,
        first: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        if first:
            u, sigma, v = _apart(p)
        a, b = _gradients(g, u, sigma, v, momentum_u, momentum_v, momentum=momentum)
        u, v = _turned(u, v, a, b, lr=lr, retraction=retraction)
        return _together(p, u, sigma, v) if lr > 0 else p, u, sigma, v, a, b


@stacked("own", "own", "own")
def _apart(p: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """U, S and V."""
    U, S, Vh = svd(p.flatten(2))
    return [U], [S], [Vh.mT]


@stacked("own", "own")
def _gradients(
    g: Tensor,
    u: list[Tensor],
    sigma: list[Tensor],
    v: list[Tensor],
    a: list[Tensor],
    b: list[Tensor],
    *,
    momentum: float,
) -> tuple[list[Tensor], list[Tensor]]:
    """a and b with the gradients of U and V."""
    G, S = g.flatten(2), sigma[0].unsqueeze(1)
    return [momentum * a[0] + torch.bmm(G, v[0]) * S], [momentum * b[0] + torch.bmm(G.mT, u[0]) * S]


@stacked("own", "own")
def _turned(
    u: list[Tensor], v: list[Tensor], a: list[Tensor], b: list[Tensor], *, lr: float, retraction: str
) -> tuple[list[Tensor], list[Tensor]]:
    """U and V after a step."""
    retract = _RETRACTIONS[retraction]
    return [retract(u[0], a[0], lr)], [retract(v[0], b[0], lr)]


@stacked("element")
def _together(p: Tensor, u: list[Tensor], sigma: list[Tensor], v: list[Tensor]) -> Tensor:
    """U S V^T; p is there for its shape."""
    return torch.bmm(u[0] * sigma[0].unsqueeze(1), v[0].mT).reshape(p.shape)


# retractions -----------------------------------------------------------------------------------------------------
def _qr(U: Tensor, a: Tensor, lr: float) -> Tensor:
    Q, R = torch.linalg.qr(U - lr * a)
    diagonal: Tensor = R.diagonal(dim1=1, dim2=2)
    signs: Tensor = torch.where(diagonal < 0, -1.0, 1.0)
    turned: Tensor = Q * signs.to(Q.dtype).unsqueeze(1)
    return turned


def _polar(U: Tensor, a: Tensor, lr: float) -> Tensor:
    A, _, Bh = svd(U - lr * a)
    return torch.bmm(A, Bh)


def _cayley(U: Tensor, a: Tensor, lr: float) -> Tensor:
    half = lr / 2 * (torch.bmm(U, a.mT) - torch.bmm(a, U.mT))
    identity = torch.eye(half.shape[1], dtype=U.dtype, device=U.device)
    solution: Tensor = torch.linalg.solve_ex(identity - half, U + torch.bmm(half, U))[0]
    return solution


_RETRACTIONS = {"qr": _qr, "polar": _polar, "cayley": _cayley}
