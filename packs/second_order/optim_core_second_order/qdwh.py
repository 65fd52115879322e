"""The orthogonal factor of matrices by QDWH: dynamically weighted Halley iterations."""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: From this weight on a step by Cholesky factors would lose digits, and is done by QR.
_STABLE = 100


def polar_factor(X: Tensor, steps: int) -> Tensor:
    """The orthogonal factor of a stack of matrices (B, rows, columns), after some steps and one of Newton-Schulz.

    A step maps every singular value x to x (a + b x^2) / (1 + c x^2), with weights for the least one that there may
    still be: at first the machine epsilon. Where they have reached their limit, (3, 1, 3), before all steps are done,
    matrices that no longer change are left alone.
    """
    if X.shape[1] < X.shape[2]:
        return polar_factor(X.mT, steps).mT
    eps = torch.finfo(X.dtype).eps
    bound = (X.abs().sum(1).amax(1) * X.abs().sum(2).amax(1)).sqrt()
    Y = X / torch.where(bound == 0, 1, bound)[:, None, None]
    sets = _weights(eps, steps)
    moving = torch.ones_like(bound, dtype=torch.bool)
    for a, b, c in sets:
        new = _by_qr(Y, a, b, c) if c > _STABLE else _by_cholesky(Y, a, b, c)
        if c <= _STABLE:
            moving = _lengths(new - Y) > (5 * eps) ** (1 / 3)
        Y = new
    for _ in range(steps - len(sets)):
        new = torch.where(moving[:, None, None], _by_cholesky(Y, 3, 1, 3), Y)
        moving = moving & (_lengths(new - Y) > (5 * eps) ** (1 / 3))
        Y = new
    return 1.5 * Y - 0.5 * torch.bmm(Y, torch.bmm(Y.mT, Y))


def _weights(eps: float, steps: int) -> list[tuple[float, float, float]]:
    """a, b and c of each step until the least singular value is 1."""
    least = eps
    found: list[tuple[float, float, float]] = []
    while least + 5 * eps < 1 and len(found) < steps:
        d = (4 * (1 / least**2 - 1) / least**2) ** (1 / 3)
        q = math.sqrt(1 + d)
        a = q + math.sqrt(2 - d + 2 * (2 - least**2) / (least**2 * q))
        b = (a - 1) ** 2 / 4
        c = a + b - 1
        least = least * (a + b * least**2) / (1 + c * least**2)
        found.append((a, b, c))
    return found


def _by_qr(Y: Tensor, a: float, b: float, c: float) -> Tensor:
    rows, columns = Y.shape[1:]
    identity = torch.eye(columns, dtype=Y.dtype, device=Y.device).expand(len(Y), -1, -1)
    Q = torch.linalg.qr(torch.cat([math.sqrt(c) * Y, identity], dim=1)).Q
    return b / c * Y + (a - b / c) / math.sqrt(c) * torch.bmm(Q[:, :rows], Q[:, rows:].mT)


def _by_cholesky(Y: Tensor, a: float, b: float, c: float) -> Tensor:
    identity = torch.eye(Y.shape[2], dtype=Y.dtype, device=Y.device)
    L = torch.linalg.cholesky_ex(identity + c * torch.bmm(Y.mT, Y)).L
    return b / c * Y + (a - b / c) * torch.cholesky_solve(Y.mT, L).mT


def _lengths(x: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(x, dim=(1, 2))
    return lengths
