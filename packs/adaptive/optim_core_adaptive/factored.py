"""Second moments in the form of row and column means."""

from __future__ import annotations

import torch
from torch import Tensor

from optim_core.rules import Value, mean, sqrt, square, stacked


@stacked("own", "own")
def averaged(R: Tensor, C: Tensor, q: Tensor, *, b: float) -> tuple[Tensor, Tensor]:
    """R and C with the means of q."""
    return torch.lerp(q.mean(dim=-1), R, b), torch.lerp(q.mean(dim=-2), C, b)


@stacked("element")
def inverse_root(R: Tensor, C: Tensor) -> Tensor:
    """1 / sqrt(R C / mean(R))."""
    share = R / R.mean(dim=-1, keepdim=True)
    return share.rsqrt().unsqueeze(-1) * C.rsqrt().unsqueeze(-2)


def rms(x: Value) -> Value:
    """The root mean square."""
    return sqrt(mean(square(x)))
