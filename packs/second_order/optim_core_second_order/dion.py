"""Dion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from optim_core import decoupled, hyper, state
from optim_core.methods import blocks_in, states_of_blocks, tensors_of
from optim_core.rules import Value, stacked
from optim_core_second_order.hidden_matrices import HiddenMatrices
from optim_core_second_order.orthogonal import adjustment
from optim_core_second_order.shapes import Shape, dion_basis


def _basis(shape: Shape, group: Mapping[str, Any]) -> list[Shape]:
    return [dion_basis(shape, group["rank_fraction"], group["rank_multiple_of"])]


class Dion(HiddenMatrices):
    """Steps of low rank, orthonormal on one side; what they leave out stays in the momentum.

    For hidden matrices, which a weight of more dimensions is, too, of dimension 0 by all others; AdamW has the rest, as
    for :class:`~optim_core_second_order.muon.Muon`. For a matrix that is not wide, Q having r columns, r about
    rank_fraction times the shorter side::

        M = M + g
        P = orthonormal basis of M Q                        a step of power iteration, power_iters times
        R = M^T P                                           the next one with Q = R
        M = M - (1 - mu) P R^T                              error feedback
        Q = R with its columns of length 1                  divided by their length + epsilon
        p = p (1 - lr weight_decay) - lr sqrt(rows/columns) P Q^T

    A wide one is taken for its transpose. Work and what processes would have to exchange grow with r, not with the
    matrix. The first Q is normal noise, the same for all matrices of a shape and in each run. M is not decayed but by
    feedback, so it is large.

    The basis is that of a QR factorisation, by Householder's way ("qr"), by Cholesky factors after a random sketch
    ("rcqr", for large tall matrices) or, after ``cqr_warmup_steps``, by them alone ("cqr"): equal up to rounding. All
    runs on one process. In the authors' code AdamW's part has lr and weight decay of the matrices unless given; here
    ``adam_lr`` is as for Muon. It turns NaN into 0, which is left to be seen here.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.diag(torch.tensor([3.0, 1.0])))
        >>> optimizer = Dion([w], lr=0.1, weight_decay=0.0, rank_fraction=0.5)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(40)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Ahn et al., Dion: Distributed Orthonormalized Updates, 2025, Algorithm 1, https://arxiv.org/abs/2504.05295.
    """

    lr: float = hyper(0.01, "step size", ge=0, search=(1e-3, 1e-1))
    mu: float = hyper(0.95, "share of a step that stays in M", ge=0, lt=1)
    weight_decay: float = decoupled(0.01)
    epsilon: float = hyper(1e-8, "added to the lengths of columns", gt=0)
    rank_fraction: float = hyper(1.0, "rank of a step by the shorter side", gt=0, le=1)
    rank_multiple_of: int = hyper(1, "the rank is rounded up to a multiple of this", ge=1)
    power_iters: int = hyper(1, "power iterations a step", ge=1)
    qr_method: str = hyper("rcqr", "how a basis is found", choices=("qr", "cqr", "rcqr"))
    cqr_warmup_steps: int = hyper(150, "first steps of 'cqr', done as 'rcqr'", ge=0)
    rcqr_oversample: float = hyper(1.25, "rows of the sketch by columns", ge=1)

    momentum_buffer = state("M")
    Q = state("Q", shape=_basis)

    def start_state(self, p: Tensor, group: Mapping[str, Any], number: int) -> bool:
        """Draw the first Q."""
        first = super().start_state(p, group, number)
        blocks = blocks_in(group, p.shape)
        states, declared = self.state[p], self.method.parameter_states
        parts = [states] if blocks is None else states_of_blocks(states, declared, blocks, p, group)
        for part in parts if first else ():
            for Q in tensors_of(part, "Q"):
                Q.copy_(_normal(*Q.shape[-2:], like=Q))
        return first

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value,
        Q: Value,
        *,
        lr: Value,
        mu: Value,
        epsilon: Value,
        power_iters: Value,
        qr_method: str,
        cqr_warmup_steps: Value,
        rcqr_oversample: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        way = "rcqr" if qr_method == "cqr" and step <= cqr_warmup_steps else qr_method
        M = momentum_buffer + g
        how = {"mu": mu, "epsilon": epsilon, "iterations": power_iters, "way": way, "oversample": rcqr_oversample}
        M, U, Q = _factored(M, Q, **how)
        return p - lr * adjustment(p, "spectral") * U, M, Q


@stacked("element", "element", "own")
def _factored(
    M: Tensor, Q: list[Tensor], *, mu: float, epsilon: float, iterations: int, way: str, oversample: float
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """M after feedback, P Q^T, and Q."""
    matrices, (R,) = M.flatten(2), Q
    wide = matrices.shape[1] < matrices.shape[2]
    B, old = matrices.mT if wide else matrices, R
    for _ in range(int(iterations)):
        P = _orthonormal(torch.bmm(B, R), way, oversample)
        R = torch.bmm(B.mT, P)
    nothing = (B == 0).flatten(1).all(1)[:, None, None]  # any basis would do, but Q is to stay
    P, R = torch.where(nothing, 0, P), torch.where(nothing, old, R)
    B = torch.baddbmm(B, P, R.mT, alpha=mu - 1)
    R = R / (torch.linalg.vector_norm(R, dim=1, keepdim=True) + epsilon)
    U = torch.bmm(P, R.mT)
    B, U = (B.mT, U.mT) if wide else (B, U)
    return B.reshape(M.shape), U.reshape(M.shape), [R]


def _orthonormal(X: Tensor, way: str, oversample: float) -> Tensor:
    """An orthonormal basis of the columns of each matrix."""
    rows, columns = X.shape[1:]
    sketch = 128 * math.ceil(oversample * columns / 128)
    if way == "qr" or rows <= columns or (way == "rcqr" and sketch >= rows):  # a sketch would not be smaller
        Q: Tensor = torch.linalg.qr(X).Q
        return Q
    if way == "rcqr":
        S = _normal(sketch, rows, like=X) / math.sqrt(sketch)
        R = torch.linalg.qr(S @ X, mode="r").R
        X = torch.linalg.solve_triangular(R, X, upper=True, left=False)
    R = torch.linalg.cholesky_ex(torch.bmm(X.mT, X), upper=True).L
    orthonormal: Tensor = torch.linalg.solve_triangular(R, X, upper=True, left=False)
    return orthonormal


def _normal(rows: int, columns: int, *, like: Tensor) -> Tensor:
    """Normal noise that depends on the shape only, and is the same on all devices."""
    generator = torch.Generator("cpu").manual_seed(0)
    return torch.randn(rows, columns, generator=generator, dtype=torch.float32, device="cpu").to(like)
