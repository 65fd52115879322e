"""Methods that mix random numbers into what they fit."""

from __future__ import annotations

import torch
from torch import Tensor

from optim_core.methods import compute_dtype, real
from optim_core.optimizers import RuleOptimizer

#: float32's eps: the share of g in the noise that keeps statistics from having no inverse.
RELATIVE = 2.0**-23


class WithNoise(RuleOptimizer):
    """Base of methods that draw normal noise."""

    random = True

    def draw(self, p: Tensor) -> Tensor:
        """Normal noise in the shape of a parameter."""
        like, generator = real(p), self.generator(p.device)
        return torch.randn(like.shape, dtype=compute_dtype(like), device=generator.device, generator=generator)
