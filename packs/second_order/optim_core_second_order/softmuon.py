"""Soft-Muon."""

from __future__ import annotations

import torch
from torch import Tensor

from optim_core import decoupled, hyper, state
from optim_core.rules import Value, stacked
from optim_core_second_order.coefficients import CONVERGENT
from optim_core_second_order.contrast import even, floored, schatten4, sized, slices_of
from optim_core_second_order.hidden_matrices import HiddenMatrices
from optim_core_second_order.newton_schulz import orthogonalised
from optim_core_second_order.orthogonal import averaged, ns_precision

#: Weights of the iterates 0 to 11, whose sum takes a singular value to its power 0.1, from 0.01 up.
_POWER = (
    *(0.1091613623, 0.07085664498, 0.05210528973, 0.05457295795, 0.05011334061, 0.03334622198),
    *(0.05022104481, 0.1053727358, 0.1187323776, 0.1185061091, 0.1185059576, 0.1185059576),
)


class SoftMuon(HiddenMatrices):
    """Muon that keeps an order among directions: singular values to the power 0.1 instead of 0.

    For hidden matrices; the rest of a model goes to AdamW, as in :class:`~optim_core_second_order.Muon`. S(x) is the
    fourth root of the sum of the singular values to the power 4::

        M = momentum M + (1 - momentum) g
        u = momentum M + (1 - momentum) g              with nesterov; otherwise u = M
        X_0 = u / S(u);   X_i+1 = 2 X_i - 1.5 X_i X_i^T X_i + 0.5 (X_i X_i^T)^2 X_i;   P = X_12
        C = P - contra/2 u / S(u)                      and all norms are made S(P):
        F = sum of k_i X_i                             singular values to the power 0.1
        O = C + soft (F - C)
        V = beta2 V + (1 - beta2) mean(O^2)            for each row; for each column of a wide matrix
        O = O / sqrt(V), and the norm of before
        O = r O max(1, uw_floor ||p|| / ||r O||)       no step is shorter than that share of p
        p = p - lr O

    r is sqrt(max(1, rows/columns)), and comes before V. Singular values below a hundredth of S(u) fall off faster.
    ``soft=0`` and ``contra=0`` are Muon with even rows.

    The record named in the spec lets ``contra`` go from 0.4 to 0, then ``soft`` from 0 to 0.8 at the end of the run:
    set them in the groups. Weight decay is ours; the record has none.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, -1.0], [2.0, 0.5]]))
        >>> optimizer = SoftMuon([w], lr=0.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(30)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Contra-Muon and Soft-Muon, 2026, https://nilin.github.io/contra-muon-and-soft-muon/; the record named in
    the spec.
    """

    lr: float = hyper(0.0375, "step size", ge=0, search=(1e-3, 1e-1))
    momentum: float = hyper(0.95, "decay of the average of g", ge=0, lt=1)
    contra: float = hyper(0.0, "twice the part of the momentum that is taken away", ge=0)
    soft: float = hyper(0.8, "share of the soft map", ge=0, le=1)
    beta2: float = hyper(0.95, "decay of the mean squares", ge=0, lt=1)
    uw_floor: float = hyper(0.3825, "least norm of a step, as a share of that of p", ge=0)
    weight_decay: float = decoupled(0.0)
    nesterov: bool = hyper(True, "look one gradient ahead")
    ns_dtype: str = ns_precision()

    momentum_buffer = state("average of g")
    second_moment = state("averages of mean squares", shape=slices_of)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value,
        second_moment: Value,
        *,
        lr: Value,
        momentum: Value,
        contra: Value,
        soft: Value,
        beta2: Value,
        uw_floor: Value,
        nesterov: bool,
        ns_dtype: str,
    ) -> tuple[Value, ...]:
        """The update above."""
        M, u = averaged(g, momentum_buffer, momentum, nesterov=nesterov)
        how = {"contra": contra, "soft": soft, "beta2": beta2, "floor": uw_floor, "dtype": ns_dtype}
        X, V = _softened(u, p, second_moment, **how)
        return p - lr * X, M, V


@stacked("element", "own")
def _softened(
    u: Tensor, p: Tensor, V: Tensor, *, contra: float, soft: float, beta2: float, floor: float, dtype: str
) -> tuple[Tensor, Tensor]:
    """The direction and V."""
    shape, u = u.shape, u.flatten(2)
    size = schatten4(u)
    X = (u / size.clamp(min=1e-7)).to(getattr(torch, dtype))
    F = torch.zeros_like(u)
    for k in _POWER:
        F.add_(X.to(u.dtype), alpha=k)
        X = orthogonalised(X, [CONVERGENT])
    P = X.to(u.dtype)
    whole = schatten4(P)
    C = sized(P - contra / 2 * u / size, whole, schatten4)
    mixed = sized(torch.lerp(C, sized(F, whole, schatten4), soft), whole, schatten4)
    mixed, V = even(mixed, V, beta2, schatten4)
    return floored(mixed, p.flatten(2), floor).reshape(shape), V
