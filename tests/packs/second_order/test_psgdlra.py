"""PSGDLRA, of which no trajectory is recorded, held against a slow program with dense matrices."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

import optim_core


def gradient(p: Tensor, t: int) -> Tensor:
    """Of a quadratic whose middle moves."""
    k = torch.arange(p.numel(), dtype=p.dtype).reshape(p.shape)
    return (1 + k) * (p - 0.3 * torch.cos(0.7 * t + k))


def noise(p: Tensor, t: int) -> Tensor:
    """In the place of a draw."""
    k = torch.arange(p.numel(), dtype=p.dtype).reshape(p.shape)
    return 2**0.5 * torch.cos(1.3 * k + 0.7 * t)


def fitted(d: Tensor, U: Tensor, V: Tensor, h: Tensor, z: Tensor, rate: float, *, left: bool) -> tuple[Tensor, ...]:
    """Li's step of d and of U or V, with Q and its inverse written out."""
    c = (U.norm() / V.norm()).sqrt()
    U, V = U / c, V * c
    eye = torch.eye(len(d), dtype=d.dtype)
    Q = (eye + U @ V.T) @ d.diag()
    a, b = Q @ h, torch.linalg.inv(Q).T @ z
    Ph, Pz = Q.T @ a, torch.linalg.inv(Q) @ b
    s = ((Ph**2 + z**2) * (Pz**2 + h**2)).max().sqrt()
    new = d - rate / s * d * (Ph * h - z * Pz)
    inner = (torch.outer(a, a) - torch.outer(b, b)) @ (V if left else U)
    t = sum(x.norm() * (F @ (F.T @ x)).norm() for x in (a, b) for F in [V if left else U])
    if left:
        return new, U - rate / t * inner @ (torch.eye(U.shape[1], dtype=d.dtype) + V.T @ U), V
    return new, U, V - rate / t * (eye + V @ U.T) @ inner


@pytest.mark.parametrize("options", [{}, {"delayed": True, "beta": 0.5}, {"momentum_into_precond_update": False}])
@pytest.mark.parametrize("shape", [(3, 4), (1,)])
def test_does_what_the_formulas_say(shape: tuple[int, ...], options: dict[str, Any]) -> None:
    start = torch.sin(1 + torch.arange(12, dtype=torch.float64))[: torch.Size(shape).numel()].reshape(shape)
    p = Parameter(start.clone())
    optimizer = optim_core.get("psgdlra")([p], lr=0.01, weight_decay=0.1, precond_init_scale=0.7, **options)
    beta, m = options.get("beta", 0.9), torch.zeros(start.numel(), dtype=torch.float64)
    w, d = start.flatten(), 0.7 * torch.ones_like(m)
    p.grad = torch.zeros_like(p)
    optimizer.begin()
    U, V = (optimizer.state[p][name].clone() for name in ("U_0", "V_0"))
    for t in range(1, 9):
        optimizer.draw = lambda q, t=t: noise(q.detach(), t)
        p.grad = gradient(p.detach(), t)
        optimizer.step()
        g = gradient(w.reshape(shape), t).flatten()
        m = beta * m + (1 - beta) * g
        corrected = m / (1 - beta**t)
        h = corrected if options.get("momentum_into_precond_update", True) else g
        z = noise(w, t)
        before = d, U, V
        d, U, V = fitted(d, U, V, h + (1e-9 + 2.0**-23 * h.abs()) * z, z, 0.1, left=t % 2 == 1)
        e, A, B = before if options.get("delayed") else (d, U, V)
        Q = (torch.eye(len(e), dtype=e.dtype) + A @ B.T) @ e.diag()
        u = Q.T @ Q @ corrected / 1.5
        u = (1.5 * (0.1 * u.sign() * (1 + u.abs()).log() + 0.9 * u.tanh())).clamp(-2, 2)
        w = w * (1 - 0.001) - 0.01 * u
        assert torch.allclose(p.detach().flatten(), w, rtol=1e-9, atol=1e-12)
        assert torch.allclose(optimizer.state[p]["d"].flatten(), d, rtol=1e-9)


def test_the_gradient_is_whitened() -> None:
    torch.manual_seed(0)
    p = Parameter(torch.zeros(12, dtype=torch.float64))
    optimizer = optim_core.get("psgdlra")([p], lr=0.0, beta=0.0)
    generator = torch.Generator().manual_seed(1)
    scales = torch.logspace(-1, 1, 12, dtype=torch.float64)
    for _ in range(1000):
        p.grad = scales * torch.randn(12, dtype=torch.float64, generator=generator)
        optimizer.step()
    state = optimizer.state[p]
    Q = (torch.eye(12, dtype=torch.float64) + state["U_0"] @ state["V_0"].T) @ state["d"].diag()
    sizes = torch.linalg.eigvalsh(Q @ scales.square().diag() @ Q.T)
    # 10000 before: the smallest are the last to come, since a fit goes by the largest
    assert float(sizes.max() / sizes.min()) < 300
