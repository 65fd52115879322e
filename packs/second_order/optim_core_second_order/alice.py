"""Alice."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core.errors import InvalidOption
from optim_core.rules import Value, maximum, norm, stacked, where
from optim_core_second_order.roots import eigh
from optim_core_second_order.shapes import Shape, alice_view


def _basis(shape: Shape, group: Mapping[str, Any]) -> list[Shape]:
    n, _ = alice_view(shape)
    return [(n, min(group["rank"], n))]


def _square(shape: Shape, group: Mapping[str, Any]) -> list[Shape]:
    return [(min(group["rank"], alice_view(shape)[0]),) * 2]


def _within(shape: Shape, group: Mapping[str, Any]) -> list[Shape]:
    n, columns = alice_view(shape)
    return [(min(group["rank"], n), columns)]


def _columns(shape: Shape, group: Mapping[str, Any]) -> list[Shape]:
    del group
    return [(alice_view(shape)[1],)]


class Alice(RuleOptimizer):
    """Adam in a subspace of the rows that follows the gradient's Gram matrix, and what it leaves out, scaled by column.

    A parameter counts as a matrix of n rows, dimension 0 by all others (a vector as a column). The basis U has r
    columns, r = min(rank, n); t counts from 1, and all states start at 0::

        p = p (1 - lr weight_decay)
        U = a new basis                                         at t = 1, and where update_interval divides t
        h = U^T g
        Q = beta3 Q + (1 - beta3) h h^T
        m = beta1 m + (1 - beta1) h;   v = beta2 v + (1 - beta2) h^2
        q = max(beta1 q + (1 - beta1) (|g|^2 - |h|^2), 1e-8)    squares of the norms of columns
        C = sqrt(n - r) (g - U h) / sqrt(q)
        C = C gamma / max(||C|| / phi, gamma);   phi = ||C||    no limit where phi is 0
        p = p - lr alpha (U (m / (sqrt(v) + eps)) + alpha_c C)

    A new basis comes from A = beta3 U Q U^T + (1 - beta3) g g^T: a step of power iteration, V from QR(A U), the first r
    columns of the identity for t = 1; V turned to the eigenvectors of V^T A V; of these the ``leading_basis`` of the
    largest eigenvalues, and in the place of the others random directions at right angles to V (if there are fewer than
    that, some of the others at random). The directions follow from t and the shape; the averages stay as they are.

    ``betas[2] = 0`` is Alice-0, which keeps no memory of what it has left. Only rows are projected: for a tall weight
    the basis is on the longer side, n x r. m and v are not corrected. Embeddings, normalisation layers and biases are
    meant for another optimizer.

    The authors published no code; this is what pytorch-optimizer makes of it, but for the random directions: it takes
    columns of one basis of all that is at right angles to V, an n x n matrix.

    Raises:
        InvalidOption: ``leading_basis`` is larger than ``rank``.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, 1.0], [0.0, 2.0], [1.0, 1.0]]))
        >>> optimizer = Alice([w], lr=0.1, rank=2, leading_basis=1, update_interval=5)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(60)]
        >>> losses[-1] < 0.5 * losses[0]
        True

    Source: Gong et al., Towards Efficient Optimizer Design for LLM via Structured Fisher Approximation with a Low-Rank
    Extension, 2025, https://arxiv.org/abs/2502.07752; as in pytorch-optimizer.
    """

    lr: float = hyper(0.02, "step size", ge=0, search=(2e-3, 2.0))
    betas: tuple[float, float, float] = hyper((0.9, 0.9, 0.999), "decay of m and q, of v, and of Q", ge=0, lt=1)
    alpha: float = hyper(0.3, "factor of the step", ge=0)
    alpha_c: float = hyper(0.4, "share of C in the step", ge=0)
    update_interval: int = hyper(200, "steps from one basis to the next", ge=1)
    rank: int = hyper(256, "columns of the basis", ge=1)
    gamma: float = hyper(1.01, "largest growth of the norm of C", ge=1)
    leading_basis: int = hyper(40, "eigenvectors that a new basis keeps, at most rank", ge=0)
    weight_decay: float = decoupled(0.0)
    decoupled_weight_decay: bool = hyper(True, "shrink p, instead of adding the decay to g")
    eps: float = hyper(1e-8, "added to the root", gt=0)

    U = state("basis", shape=_basis)
    Q = state("average of h h^T", shape=_square)
    exp_avg = state("m", shape=_within)
    exp_avg_sq = state("v", shape=_within)
    left_out = state("q", shape=_columns)
    phi = state("norm of the last C, as limited", level="tensor")

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """A basis has room for what it keeps."""
        del given
        if options["leading_basis"] > options["rank"]:
            raise InvalidOption(
                f"{cls.__name__}: leading_basis={options['leading_basis']} of rank={options['rank']} columns: "
                "give a leading_basis of at most rank"
            )
        return options

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        U: Value,
        Q: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        left_out: Value,
        phi: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value, Value],
        alpha: Value,
        alpha_c: Value,
        update_interval: Value,
        gamma: Value,
        leading_basis: Value,
        eps: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        if step == 1 or step % update_interval == 0:
            U = _switched(U, Q, g, beta3=betas[2], leading=leading_basis, t=step)
        u, C, *states = _split(g, U, Q, exp_avg, exp_avg_sq, left_out, betas=betas, eps=eps)
        N = norm(C)
        limit = where(phi > 0, gamma / maximum(N / where(phi > 0, phi, 1), gamma), 1)
        return p - lr * alpha * (u + alpha_c * limit * C), U, *states, limit * N


@stacked("own")
def _switched(
    basis: list[Tensor], gram: list[Tensor], g: Tensor, *, beta3: float, leading: int, t: float
) -> list[Tensor]:
    """A new basis, found in double: directions of small eigenvalues would be lost in products of products."""
    (U,), (Q,), G = basis, gram, _matrix(g).double()
    n, r = U.shape[1:]
    old, Q, kept = U.double(), Q.double(), min(int(leading), r)

    def by_gram(X: Tensor) -> Tensor:  # A X, without the n x n matrix A
        return beta3 * (old @ (Q @ (old.mT @ X))) + (1 - beta3) * (G @ (G.mT @ X))

    V = torch.eye(n, r, dtype=G.dtype, device=G.device).expand_as(old) if t == 1 else torch.linalg.qr(by_gram(old)).Q
    V = V @ eigh(V.mT @ by_gram(V))[1].flip(2)
    if kept < r:
        generator = torch.Generator("cpu").manual_seed(int(t))
        outside = min(r - kept, n - r)
        noise = torch.randn(n, outside, generator=generator, dtype=G.dtype, device="cpu").to(G.device)
        W = torch.linalg.qr(torch.cat([V, noise.expand(len(V), -1, -1)], 2)).Q[:, :, r:]
        others = kept + torch.randperm(r - kept, generator=generator, device="cpu")[: r - kept - outside]
        V = torch.cat([V[:, :, :kept], W, V[:, :, others.to(V.device)]], 2)
    return [V.to(U.dtype)]


@stacked("element", "element", "own", "own", "own", "own")
def _split(
    g: Tensor,
    basis: list[Tensor],
    gram: list[Tensor],
    exp_avg: list[Tensor],
    exp_avg_sq: list[Tensor],
    left_out: list[Tensor],
    *,
    betas: tuple[float, float, float],
    eps: float,
) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
    """Adam's direction in the subspace, brought back; C before its limit; and Q, m, v, q."""
    (U,), (Q,), (m,), (v,), (q,), G = basis, gram, exp_avg, exp_avg_sq, left_out, _matrix(g)
    beta1, beta2, beta3 = betas
    n, r = U.shape[1:]
    h = U.mT @ G
    Q = beta3 * Q + (1 - beta3) * h @ h.mT
    m, v = beta1 * m + (1 - beta1) * h, beta2 * v + (1 - beta2) * h.square()
    q = (beta1 * q + (1 - beta1) * (G.square().sum(1) - h.square().sum(1))).clamp(min=1e-8)
    C = math.sqrt(n - r) * (G - U @ h) / q.sqrt().unsqueeze(1)
    u = U @ (m / (v.sqrt() + eps))
    return u.reshape(g.shape), C.reshape(g.shape), [Q], [m], [v], [q]


def _matrix(g: Tensor) -> Tensor:
    return g.reshape(len(g), *alice_view(tuple(g.shape[1:])))
