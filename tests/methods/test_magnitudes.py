"""One gradient far too small or too large, in float32: what stays finite in torch does here, and the engines agree.

Which methods torch has follows from the specs.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support.methods import matrix_optimizers, of_torch, rule_optimizers
from support.sparse import form_of_gradients
from torch import Tensor
from torch.nn import Parameter

import optim_core

pytestmark = [
    pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

MAGNITUDES = [1e-40, 1e-30, 1e-20, 1.0, 1e15, 1e20, 1e25, 1e30]
OF_TORCH = [spec.name for spec in of_torch() if not spec.needs]
SHAPES = [(3, 4), (5,)]
STEPS = 6


def is_close(x: Tensor, y: Tensor) -> bool:
    return torch.allclose(x, y, rtol=1e-4, atol=1e-4 * float(y.abs().max()))


def after(cls: Any, magnitude: float, dtype: torch.dtype = torch.float32, **options: Any) -> list[Tensor]:
    """Parameters after a spike in the second step, an ordinary gradient before and some behind it."""
    params = [Parameter(torch.linspace(0.5, 1.5, math.prod(shape), dtype=dtype).reshape(shape)) for shape in SHAPES]
    torch.manual_seed(0)
    optimizer, form = cls(params, **options), form_of_gradients(cls)
    for t in range(STEPS):
        for p in params:
            g = (magnitude if t == 1 else 0.1) * torch.cos(torch.arange(p.numel(), dtype=dtype) + 0.1 * t)
            p.grad = form(g.reshape(p.shape))
        optimizer.step()
    return [p.detach() for p in params]


@pytest.mark.parametrize("magnitude", MAGNITUDES)
@pytest.mark.parametrize("engine", ["eager", "native"])
@pytest.mark.parametrize("name", OF_TORCH)
def test_what_is_finite_in_torch_is_finite_here(name: str, engine: str, magnitude: float) -> None:
    ours = after(optim_core.get(name), magnitude, engine=engine)
    cls = optim_core.get(f"torch:{name}")
    # where torch divides a second moment that is almost too large, it overflows and ours does not
    exactly = after(cls, magnitude, dtype=torch.float64)
    for x, y, exact in zip(ours, after(cls, magnitude), exactly, strict=True):
        assert (x.isfinite() | ~y.isfinite()).all()
        if y.isfinite().all():
            assert is_close(x, y) or is_close(x, exact.float())


@pytest.mark.parametrize("name", [name for name in rule_optimizers() if name not in matrix_optimizers()])
def test_engines_agree(name: str) -> None:
    for magnitude in MAGNITUDES:
        mine, theirs = (after(optim_core.get(name), magnitude, engine=engine) for engine in ("native", "eager"))
        for x, y in zip(mine, theirs, strict=True):
            assert torch.equal(x.isfinite(), y.isfinite()), magnitude
            finite = y[y.isfinite()]
            scale = float(finite.abs().max()) if len(finite) else 0.0
            torch.testing.assert_close(x[x.isfinite()], finite, rtol=1e-4, atol=1e-4 * scale)
