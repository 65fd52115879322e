"""SPlus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from optim_core import hyper, state
from optim_core.methods import real
from optim_core.optimizers import Modes
from optim_core.rules import Value, lerp, sign, size, where
from optim_core_second_order.rotation import averaged, eigenvectors, rot, squares, unrot
from optim_core_second_order.shapes import Shape


def _sides(shape: Shape, group: Mapping[str, Any]) -> list[Shape] | None:
    """For matrices a square matrix for each axis below max_dim."""
    return squares(shape, {"max_precond_dim": group["max_dim"] - 1}) if len(shape) == 2 else None


class SPlus(Modes):
    """Signs of the momentum in Shampoo's eigenbasis, and an average of the weights for evaluation.

    For a matrix, Q_1 and Q_2 being the bases of the steps before (the identity in the first)::

        m = beta1 m + (1 - beta1) g
        S_1 = beta2 S_1 + (1 - beta2) g g^T;   S_2 = beta2 S_2 + (1 - beta2) g^T g
        p = p - f Q_1 sign(Q_1^T m Q_2) Q_2^T               f = 2 lr / (rows + columns)
        ema = ema_rate ema + (1 - ema_rate) p
        p = p (1 - f weight_decay)
        Q_i = eigenvectors of S_i + eps I                   in the first step, and every inverse_every steps

    Everything that is not a matrix, or has an axis longer than ``max_dim``, takes p - f sign(m) with
    f = nonstandard_constant lr; axes of ``max_dim`` and more are not rotated.

    Train at p, validate and save at ema / (1 - ema_rate^t): call ``optimizer.eval()`` before, ``optimizer.train()``
    after; ``minimize`` goes back to training by itself. p and ema change places then, so that nothing more is kept;
    where p is of low precision, the average comes back rounded to it.

    Where a Gram matrix does not have full rank, its basis is arbitrary in part, and so is the step. Convolutions count
    as "everything else", as in the authors' code. Their class takes b1 and b2 apart; the one for JAX averages the
    weights before the step and decays otherwise.

    Raises:
        NotTraining: by step(), in eval mode.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.eye(2))
        >>> optimizer = SPlus([w], lr=0.1, ema_rate=0.9)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(10)]
        >>> optimizer.eval()  # now w holds the average
        >>> losses[-1] < w.square().sum().item() < losses[0]
        True

    Source: Frans et al., A Stable Whitening Optimizer for Efficient Neural Network Training, 2025, Algorithm 1,
    https://arxiv.org/abs/2506.07254; boundaries and order as in the authors' code.
    """

    lr: float = hyper(0.1, "step size, before the factor for the shape", ge=0, search=(3e-2, 1.0))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of g g^T", ge=0, lt=1)
    ema_rate: float = hyper(0.999, "decay of the average of p", ge=0, lt=1)
    inverse_every: int = hyper(100, "steps from one basis to the next", ge=1)
    eps: float = hyper(1e-30, "times the identity, added before eigenvectors are taken", ge=0)
    weight_decay: float = hyper(0.01, "decoupled decay, times f, after the step", ge=0)
    max_dim: int = hyper(10000, "axes of this length are not rotated any more", ge=1)
    nonstandard_constant: float = hyper(0.001, "factor of lr for what is not a matrix", ge=0)

    momentum = state("average of g")
    ema = state("average of p, not corrected; in eval mode the weights themselves")
    sides = state("averages of g g^T and g^T g", shape=_sides)
    q_sides = state("their eigenvectors", shape=_sides)

    def turn(self, group: dict[str, Any], *, training: bool) -> None:
        """Exchange p and the average."""
        for p in group["params"]:
            states = self.state.get(p, {})
            if isinstance(states.get("ema"), Tensor) and states["step"]:
                full = 1 - group["ema_rate"] ** states["step"]
                here, other = real(p.detach()), states["ema"]
                kept = here.to(other.dtype, copy=True)
                here.copy_(other if training else other / full)
                other.copy_(kept * full if training else kept)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum: Value,
        ema: Value,
        sides: Value | None,
        q_sides: Value | None,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        ema_rate: Value,
        inverse_every: Value,
        eps: Value,
        weight_decay: Value,
        max_dim: Value,
        nonstandard_constant: Value,
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        beta1, beta2 = betas
        m = lerp(g, momentum, beta1)
        u = sign(m)
        if sides is not None:
            how = {"max_precond_dim": max_dim - 1}
            if step > 1:
                u = unrot(sign(rot(m, q_sides, **how)), q_sides, **how)
            sides = averaged(sides, g, beta=beta2, **how)
            if step == 1 or step % inverse_every == 0:
                q_sides = eigenvectors(sides, ridge=eps)
        f = lr * nonstandard_constant
        if p.ndim == 2:
            rows = size(p) / size(p, over="row")
            columns = size(p) / rows
            f = lr * where((rows <= max_dim) & (columns <= max_dim), 2 / (rows + columns), nonstandard_constant)
        p = p - f * u
        return p * (1 - f * weight_decay), m, lerp(p, ema, ema_rate), sides, q_sides
