"""DASH."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from optim_core import hyper, state
from optim_core.methods import in_blocks
from optim_core.optimizers import RuleOptimizer
from optim_core.rules import Value, lerp, sqrt, square, stacked
from optim_core_second_order.blocks import added, cut, grafted, joined, turned
from optim_core_second_order.hidden_matrices import adamw
from optim_core_second_order.roots import eigh
from optim_core_second_order.shapes import Shape, matrix_view, squares


def _squares(shape: Shape, group: Mapping[str, Any]) -> list[Shape] | None:
    return squares(matrix_view(shape), group["block_size"]) if len(shape) > 1 else None


class DASH(RuleOptimizer):
    """Shampoo on blocks of matrices, whose roots are taken for all blocks of a size at once, as long as Adam's step.

    A weight of more than two dimensions is the matrix of dimension 0 by all others. It is cut from the top left into
    blocks of ``block_size`` squared and what is left over. For each block G of the gradient, t counting from 1::

        L = beta2 L + (1 - beta2) G G^T;   R = beta2 R + (1 - beta2) G^T G        beta2 = 1: the sums
        Li = L^(-1/4),  Ri = R^(-1/4)                 for t = 1 and every precondition_frequency steps
        T = beta1 T + (1 - beta1) G;   A = grafting_beta A + (1 - grafting_beta) G^2
        P = (T / (1 - beta1^t)) / (sqrt(A / (1 - grafting_beta^t)) + eps)         t left out without correct_bias
        U = Li T Ri, of the length of P               before start_preconditioning_step U = P
        M = momentum M + U;   U = U + momentum M      without nesterov U = M; momentum = 0: neither
        p = p (1 - lr weight_decay) - lr U

    Roots are taken of eigenvalues e + 2 matrix_eps, those below 0 counting as 0. ``inverse_root_method="newton_db"``
    takes two rounds of ``newton_steps`` Newton-Denman-Beavers iterations of the same in their place, products only;
    eigenvalues far below 1/4^newton_steps of the Frobenius norm are not resolved by them.
    What has fewer than two dimensions takes Adam with ``adam_betas``, ``adam_eps`` and the same lr, without decay.

    Where a block's statistics have a null space, as those of a block of one column, what the gradient comes to have in
    it until the next root is multiplied by (2 matrix_eps)^(-1/4), some 300; the length is that of P all the same.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.diag(torch.tensor([3.0, 1.0])))
        >>> optimizer = DASH([w], lr=0.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(40)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: DASH: Faster Shampoo via Batched Block Preconditioning and Efficient Inverse-Root Solvers, 2026,
    https://arxiv.org/abs/2602.02016; order of the steps and what is added to eigenvalues as in the authors' code.
    """

    blocks: str | None = in_blocks()
    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.95), "decay of T; of the statistics, 1 sums them up", ge=0, le=1)
    grafting_beta: float = hyper(0.95, "decay of A", ge=0, lt=1)
    weight_decay: float = hyper(0.0, "decoupled decay of matrices, times lr", ge=0)
    block_size: int = hyper(1024, "longest side of a block", ge=1)
    precondition_frequency: int = hyper(10, "steps from one computation of the roots to the next", ge=1)
    start_preconditioning_step: int = hyper(-1, "first step with roots; before it the step is P", ge=-1)
    inverse_root_method: str = hyper("eigh", "how roots are taken", choices=("eigh", "newton_db"))
    newton_steps: int = hyper(10, "iterations for each square root", ge=1)
    momentum: float = hyper(0.0, "decay of the sum of steps; 0 for none", ge=0, lt=1)
    nesterov: bool = hyper(True, "look one step ahead")
    correct_bias: bool = hyper(True, "correct T and A in P")
    eps: float = hyper(1e-8, "added to the root in P", gt=0)
    matrix_eps: float = hyper(1e-10, "added to the eigenvalues, twice", gt=0)
    adam_betas: tuple[float, float] = hyper((0.9, 0.95), "Adam's decay of the averages of g and g^2", ge=0, lt=1)
    adam_eps: float = hyper(1e-8, "added to Adam's root", ge=0)

    exp_avg = state("T, or Adam's average of g")
    exp_avg_sq = state("A, or Adam's average of g^2")
    momentum_buffer = state("M", when=lambda group: group["momentum"] > 0)
    statistics = state("L and R, for every kind of block", shape=_squares)
    inverse_roots = state("Li and Ri", shape=_squares)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        momentum_buffer: Value | None,
        statistics: Value | None,
        inverse_roots: Value | None,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        grafting_beta: Value,
        weight_decay: Value,
        block_size: Value,
        precondition_frequency: Value,
        start_preconditioning_step: Value,
        inverse_root_method: str,
        newton_steps: Value,
        momentum: Value,
        nesterov: bool,
        correct_bias: bool,
        eps: Value,
        matrix_eps: Value,
        adam_betas: tuple[Value, Value],
        adam_eps: Value,
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        if statistics is None:
            new = adamw(p, g, exp_avg, exp_avg_sq, lr=lr, adam_betas=adam_betas, adam_eps=adam_eps, step=step)
            return *new, momentum_buffer, None, None
        H, Hi = statistics, inverse_roots
        averaging = {"beta": betas[1], "longest": block_size}
        if step >= start_preconditioning_step and (step == 1 or step % precondition_frequency == 0):
            how = {"eps": matrix_eps, "method": inverse_root_method, "newton_steps": newton_steps}
            H, Hi = _renewed(H, g, **averaging, **how)
        else:
            H = _averaged(H, g, **averaging)
        T = lerp(g, exp_avg, betas[0])
        A = lerp(square(g), exp_avg_sq, grafting_beta)
        c1, c2 = (1 - betas[0] ** step, 1 - grafting_beta**step) if correct_bias else (1, 1)
        U = (T / c1) / (sqrt(A / c2) + eps)
        if step >= start_preconditioning_step:
            U = _turned(T, U, Hi, longest=block_size)
        M = momentum_buffer
        if M is not None:
            M = momentum * M + U
            U = U + momentum * M if nesterov else M
        return p * (1 - lr * weight_decay) - lr * U, T, A, M, H, Hi


@stacked("own")
def _averaged(H: list[Tensor], g: Tensor, *, beta: float, longest: int) -> list[Tensor]:
    """The statistics with a gradient in them."""
    return _added(H, g, beta, longest)


@stacked("own", "own")
def _renewed(
    H: list[Tensor], g: Tensor, *, beta: float, longest: int, eps: float, method: str, newton_steps: int
) -> tuple[list[Tensor], list[Tensor]]:
    """The statistics, and H^(-1/4).

    Eigenvectors are taken in float64, before the statistics are rounded: matrix_eps is below the rounding of float32,
    and stands for the whole null space of a first gradient.
    """
    if method == "newton_db":
        H = _added(H, g, beta, longest)
        return H, [_by_newton(M, eps, newton_steps) for M in H]
    exact, roots = _added([M.double() for M in H], g.double(), beta, longest), []
    for M in exact:
        e, V = eigh(M + eps * torch.eye(M.shape[-1], dtype=M.dtype, device=M.device))
        e = e + eps - e.amin(-1, keepdim=True).clamp(max=0)
        roots.append((V * e.pow(-0.25).unsqueeze(-2)) @ V.mT)
    return [M.to(g.dtype) for M in exact], [M.to(g.dtype) for M in roots]


def _added(H: list[Tensor], g: Tensor, beta: float, longest: int) -> list[Tensor]:
    return added(H, cut(g.flatten(2), longest), keep=beta, share=1 if beta == 1 else 1 - beta)


def _by_newton(H: Tensor, eps: float, newton_steps: int) -> Tensor:
    """H^(-1/4) by two square roots: the first leaves H^(1/2), of which the second is the inverse root."""
    identity = torch.eye(H.shape[-1], dtype=H.dtype, device=H.device)
    A = H + 2 * eps * identity
    size: Tensor = torch.linalg.matrix_norm(A, keepdim=True)
    root, _ = _denman_beavers(A / size, identity, newton_steps)
    # the root of what has norm 1 may have a larger one, but no larger eigenvalue
    _, inverse = _denman_beavers(root, identity, newton_steps)
    return inverse * size.pow(-0.25)


def _denman_beavers(A: Tensor, identity: Tensor, newton_steps: int) -> tuple[Tensor, Tensor]:
    """A^(1/2) and A^(-1/2) of matrices with eigenvalues in (0, 1], by products only."""
    Y, Z = A, identity.expand_as(A)
    for _ in range(int(newton_steps)):
        W = 1.5 * identity - 0.5 * (Z @ Y)
        Y, Z = Y @ W, W @ Z
    return Y, Z


@stacked("element")
def _turned(T: Tensor, P: Tensor, Hi: list[Tensor], *, longest: int) -> Tensor:
    """Li T Ri block by block, each as long as that of P."""
    X = T.flatten(2)
    blocks = turned(cut(X, longest), Hi)
    lengths = cut(P.flatten(2), longest)
    return joined([grafted(b, a) for b, a in zip(blocks, lengths, strict=True)], X, longest).reshape(T.shape)
