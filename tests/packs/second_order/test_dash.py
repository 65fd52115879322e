"""The two ways in which DASH takes roots."""

from __future__ import annotations

import torch

import optim_core


def trained(method: str, newton_steps: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    w = torch.nn.Parameter(torch.randn(5, 3, generator=generator, dtype=torch.float64))
    x = torch.randn(64, 3, generator=generator, dtype=torch.float64)
    options = {"block_size": 3, "precondition_frequency": 2, "matrix_eps": 1e-3}
    optimizer = optim_core.get("dash")([w], lr=0.05, inverse_root_method=method, newton_steps=newton_steps, **options)
    for _ in range(6):
        optimizer.minimize(lambda: (x @ w.T - 1).square().mean())
    return w.detach()


def test_products_alone_come_to_the_roots_of_eigenvectors():
    far, near = ((trained("newton_db", n) - trained("eigh", n)).abs().max() for n in (3, 25))
    assert near < 1e-10
    assert near < 1e-3 * far
