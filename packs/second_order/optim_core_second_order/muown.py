"""Muown."""

from __future__ import annotations

from typing import ClassVar

from optim_core import hyper, state
from optim_core.rules import Value, dot, lerp, maximum, norm, root, sqrt, square
from optim_core_second_order.orthogonal import Orthogonal, Orthogonalised, sides, summed


class Muown(Orthogonalised):
    """Muon for the directions of rows, Adam for their lengths, as weight normalisation divides them.

    For hidden matrices; the rest of a model goes to AdamW, as in :class:`~optim_core_second_order.Muon`, with the same
    lr unless ``adam_lr`` says otherwise. Row by row p = l v / n, with n = ||v||; l = n = ||p|| at the start::

        U = p / l;   dl = sum(g U);   dv = l / n (g - dl U)
        M = momentum M + dv
        u = dv + momentum M                            with nesterov; otherwise u = M
        v = n U - lr scale sqrt(max(rows, columns)) orthogonal(u)
        l = l - lr Adam(dl)                            betas, eps; with bias correction
        n = ||v||
        p = l v / n

    With weight decay, then p = p - lr weight_decay p_before and l = ||p||. v is never normalised: n grows, and a step
    turns a row ever less.

    The optimizer owns p: where something else changes it, l and n do not follow, and they belong into a checkpoint.
    l may become negative; with weight decay it is positive again after the step, while v keeps its sign, as in the
    authors' code. There a row of zeros gives NaN; norms are at least 1e-12 here. Their code guesses from rows = 3
    columns that Q, K and V are one matrix, and cuts it: that is ``blocks`` here.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, -1.0], [2.0, 0.5]]))
        >>> optimizer = Muown([w], lr=0.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(60)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Muown: Row-Norm Control for Muon Optimization, 2026, https://arxiv.org/abs/2605.10797; the code named in
    the spec, from a description of it.
    """

    lr: float = hyper(3e-4, "step size", ge=0, search=(3e-4, 3e-2))
    momentum: float = hyper(0.95, "decay of the sum of dv", ge=0, lt=1)
    nesterov: bool = hyper(True, "look one gradient ahead")
    betas: tuple[float, float] = hyper((0.9, 0.95), "decay of the averages of dl and dl^2", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root for lengths", gt=0)
    weight_decay: float = hyper(0.0, "decay of the whole matrix, times lr, after the step", ge=0)
    scale: float = hyper(0.2, "factor of sqrt(max(rows, columns))", ge=0)

    momentum_buffer = state("decayed sum of dv")
    magnitude = state("lengths l of rows", level="row")
    v_norm = state("norms n of the rows of v", level="row")
    magnitude_avg = state("average of dl", level="row")
    magnitude_avg_sq = state("average of dl squared", level="row")

    adam_share: ClassVar = 1.0

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value,
        magnitude: Value,
        v_norm: Value,
        magnitude_avg: Value,
        magnitude_avg_sq: Value,
        *,
        lr: Value,
        momentum: Value,
        nesterov: bool,
        betas: tuple[Value, Value],
        eps: Value,
        weight_decay: Value,
        scale: Value,
        step: Value,
        first: Value,
        orthogonal: Orthogonal,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        length, n = (_length(p), _length(p)) if first else (magnitude, v_norm)
        U = p / length
        dl = dot(g, U, over="row")
        dv = length / n * (g - dl * U)
        M, u = summed(dv, momentum_buffer, momentum, nesterov=nesterov)
        v = n * U - lr * scale * sqrt(maximum(*sides(p))) * orthogonal(u)
        a, b = lerp(dl, magnitude_avg, beta1), lerp(square(dl), magnitude_avg_sq, beta2)
        length = length - lr / (1 - beta1**step) * a / root(b, eps, 1 - beta2**step)
        n = _length(v)
        new = length * v / n if lr != 0 else p  # which that is, up to rounding
        if weight_decay != 0:
            new = new - lr * weight_decay * p
            length = _length(new)
        return new, M, length, n, a, b


def _length(x: Value) -> Value:
    return maximum(norm(x, over="row"), 1e-12)
