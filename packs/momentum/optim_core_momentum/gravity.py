"""Gravity."""

from __future__ import annotations

from typing import Any

import torch

from optim_core import RuleOptimizer, hyper, state
from optim_core.methods import compute_dtype, real
from optim_core.rules import Value, amax, lerp, square


class Gravity(RuleOptimizer):
    """Momentum whose gradients are cut down where they are large: a ball that rolls from small steps to long memory.

    With M the largest absolute gradient of the tensor and b = (beta t + 1) / (t + 2)::

        z = g / (1 + (g M)^2)
        v = b v + (1 - b) z                v starts at random, with mean 0 and standard deviation alpha / lr
        p = p - lr v

    A gradient of 1/M counts most, no element of z is above 1/(2M), and one huge gradient dampens the whole tensor. The
    velocity is drawn in the constructor, with the lr given there (built with lr = 0 it starts at rest), from the
    optimizer's own stream, which follows from ``torch.manual_seed``; alpha = 0 draws nothing. Steps are counted from 1,
    as in the paper and the authors' PyTorch code; their Keras code counts from 0.

    The authors' code is under GPL-3.0-only; this is written from the formulas.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -1.0]))
        >>> loss = Gravity([w], lr=0.5, alpha=0.0, beta=0.5).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]  # g = 2, z = 2/17, b = 1/2
        [0.971, -0.971]

    Source: Bahrami and Zadeh, Gravity Optimizer: a Kinematic Approach on Optimization in Deep Learning, 2021,
    https://arxiv.org/abs/2101.09192.
    """

    lr: float = hyper(0.1, "step size", ge=0, search=(1e-3, 1.0))
    alpha: float = hyper(0.01, "standard deviation of the first displacements, lr v", ge=0)
    beta: float = hyper(0.9, "decay of the velocity in the long run", ge=0, lt=1)

    v = state("velocity")

    @torch.no_grad()
    def on_group(self, group: dict[str, Any]) -> None:
        """Draw the velocities."""
        if group["alpha"] and group["lr"]:
            for p in group["params"]:
                generator = self.generator(p.device)
                v = torch.empty(real(p).shape, dtype=compute_dtype(real(p)), device=generator.device)
                v.normal_(std=group["alpha"] / float(group["lr"]), generator=generator)
                self.set_state(p, v=v)

    @staticmethod
    def rule(p: Value, g: Value, v: Value, *, lr: Value, beta: Value, step: Value) -> tuple[Value, ...]:
        """The update above."""
        z = g / (1 + square(g * amax(abs(g))))
        v = lerp(z, v, (beta * step + 1) / (step + 2))
        return p - lr * v, v
