"""SOAPMuon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from optim_core import decoupled, hyper, state
from optim_core.rules import Value, lerp, maximum, sqrt, square, stacked
from optim_core_second_order.hidden_matrices import HiddenMatrices
from optim_core_second_order.matrices import frobenius, inner, schatten4
from optim_core_second_order.newton_schulz import orthogonalised
from optim_core_second_order.orthogonal import adjustment, averaged
from optim_core_second_order.rotation import View, eigenvectors, permuted, rot, squares
from optim_core_second_order.rotation import averaged as gram_averages
from optim_core_second_order.shapes import Shape


def _sides(shape: Shape, group: Mapping[str, Any]) -> list[Shape] | None:
    return squares(shape, {"max_precond_dim": group["max_precond_dim"], "as_matrix": True})


class SOAPMuon(HiddenMatrices):
    """Muon's orthogonal step, taken from SOAP's direction instead of the momentum.

    For hidden matrices; a weight of more dimensions counts as one, of dimension 0 by all others; AdamW gets everything
    else, as in :class:`Muon`. S(X) = ||X X^T||^(1/2), a bound of the spectral norm; Q are the bases of the step
    before::

        M = momentum M + (1 - momentum) g;   u = momentum M + (1 - momentum) g
        x = Q_1^T u Q_2;   v = beta2 v + (1 - beta2) x^2           not in the first step, where y = u
        y = Q_1 (x / max(sqrt(v), eps)) Q_2^T, brought to S(u)
        X = y / S(y);   X = a X + b A X + c A^2 X                  ns_steps times; A = X X^T
        D = sqrt(max(1, rows/columns)) X
        p = p (1 - lr weight_decay) - lr D
        GG_1 = beta2 GG_1 + (1 - beta2) g g^T;   GG_2 likewise with g^T g
        Q_i = QR(GG_i Q_i)                                         every precondition_frequency steps, as in SOAP

    Four refinements of the records at nanogpt, off by default:

    * ``trust_gate``: y gives way to u as far as it points elsewhere than u and g do;
    * ``radial_outward_scale`` < 1: less of D where it would make p longer;
    * ``uw_floor``: D is at least this share of ||p||; it goes with lr like the rest;
    * ``radius_pin``: p gets the length that the radial part of the step alone would have given it, to first order.
      Not for matrices that start at zero.

    Where gradients do not span an axis the basis is arbitrary in what they leave out. Axes longer than
    ``max_precond_dim`` are not rotated.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.eye(2))
        >>> optimizer = SOAPMuon([w], lr=0.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(5)]
        >>> losses[-1] < 0.5 * losses[0]
        True

    Source: the records of modded-nanogpt, track 3, number 44, https://github.com/KellerJordan/modded-nanogpt; the note
    behind them is https://nikhilvyas.github.io/SOAP_Muon.pdf. Weight decay and max_precond_dim are additions.
    """

    lr: float = hyper(0.02, "step size", ge=0, search=(1e-3, 1e-1))
    momentum: float = hyper(0.95, "decay of the average of g", ge=0, lt=1)
    beta2: float = hyper(0.9, "decay of v and of the Gram matrices", ge=0, lt=1)
    precondition_frequency: int = hyper(1, "steps from one basis to the next", ge=1)
    max_precond_dim: int = hyper(10000, "longest axis that is rotated", ge=0)
    eps: float = hyper(1e-8, "least root and least norm", gt=0)
    ns_steps: int = hyper(12, "steps of the iteration", ge=1)
    ns_coefficients: tuple[float, float, float] = hyper((2.0, -1.5, 0.5), "a, b and c of a step")
    ns_dtype: str = hyper("bfloat16", "precision of the iteration", choices=("bfloat16", "float32", "float64"))
    weight_decay: float = decoupled(0.0)
    uw_floor: float = hyper(0.0, "least norm of D, as a share of that of p", ge=0)
    radial_outward_scale: float = hyper(1.0, "factor of the part of D that makes p longer", ge=0)
    radius_pin: bool = hyper(False, "keep the length of p to what the radial part makes of it")
    trust_gate: bool = hyper(False, "blend y with u by how far they agree")
    trust_floor: float = hyper(0.45, "least share of y under the gate", ge=0, le=1, examples=[0.05])
    trust_cap: float = hyper(0.85, "largest share of y under the gate", ge=0, le=1, examples=[0.1])

    momentum_buffer = state("average of g")
    rotated_sq = state("average of x squared, in the basis")
    GG = state("averages of g g^T and g^T g", shape=_sides)
    Q = state("bases", shape=_sides)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value,
        rotated_sq: Value,
        GG: Value | None,
        Q: Value | None,
        *,
        lr: Value,
        momentum: Value,
        beta2: Value,
        precondition_frequency: Value,
        max_precond_dim: Value,
        eps: Value,
        ns_steps: Value,
        ns_coefficients: tuple[Value, Value, Value],
        ns_dtype: str,
        uw_floor: Value,
        radial_outward_scale: Value,
        radius_pin: bool,
        trust_gate: bool,
        trust_floor: Value,
        trust_cap: Value,
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        how = {"max_precond_dim": max_precond_dim, "as_matrix": True}
        M, u = averaged(g, momentum_buffer, momentum, nesterov=True)
        iteration = {"steps": ns_steps, "coefficients": ns_coefficients, "dtype": ns_dtype}
        if step == 1:
            D, v = _direction(u, None, None, None, least=eps, gate=None, **iteration, **how), rotated_sq
        else:
            x = u if Q is None else rot(u, Q, **how)
            v = lerp(square(x), rotated_sq, beta2)
            gate = (trust_floor, trust_cap) if trust_gate else None
            D = _direction(x / maximum(sqrt(v), eps), u, g, Q, least=eps, gate=gate, **iteration, **how)
        D = D * adjustment(p, "original")
        if radial_outward_scale != 1 or uw_floor > 0:
            D = _bounded(D, p, outward=radial_outward_scale, floor=uw_floor)
        new_p = p - lr * D
        if radius_pin and lr:
            new_p = _pinned(new_p, D, p, lr=lr)
        if GG is not None:
            GG = gram_averages(GG, g, beta=beta2, **how)
            if step == 1:
                Q = eigenvectors(GG)
            elif (step - 1) % precondition_frequency == 0:
                v, Q = _renewed(v, GG, Q, **how)
        return new_p, M, v, GG, Q


@stacked("element")
def _direction(
    x: Tensor,
    u: Tensor | None,
    g: Tensor | None,
    Q: list[Tensor] | None,
    *,
    least: float,
    gate: tuple[float, float] | None,
    steps: int,
    coefficients: tuple[float, float, float],
    dtype: str,
    **how: Any,
) -> Tensor:
    """x, which lies in the basis, with singular values near 1; what comes before is as exact as the iteration."""
    view = View(x.shape[1:], how)
    exact = torch.float64 if dtype == "float64" else x.dtype
    y = view.of(x).to(exact)
    if u is not None and g is not None:
        U = view.of(u).to(exact)
        y = _resized(y if Q is None else view.along_axes(y, [B.to(exact) for B in Q]), U, least)
        if gate is not None:
            y = _resized(U + _trust(y, U, view.of(g).to(exact), *gate) * (y - U), U, least)
    X = (y / schatten4(y, 1e-7)).to(getattr(torch, dtype))
    return view.back(orthogonalised(X, [coefficients] * int(steps)).to(x.dtype))


def _resized(y: Tensor, u: Tensor, least: float) -> Tensor:
    """y with the size of u."""
    return y * (schatten4(u, least) / schatten4(y, least))


def _trust(y: Tensor, u: Tensor, g: Tensor, floor: float, cap: float) -> Tensor:
    """The share of y under the gate."""

    def cosine(a: Tensor, b: Tensor) -> Tensor:
        return inner(a, b) / (frobenius(a) * frobenius(b)).clamp(min=1e-8)

    agreement = ((cosine(y, u) - 0.2) / 0.8).clamp(0, 1)
    descent = (cosine(y, g) / cosine(u, g).clamp(min=1e-8)).clamp(0, 1)
    return (agreement * descent).clamp(floor, cap)


@stacked("element")
def _bounded(D: Tensor, p: Tensor, *, outward: float, floor: float) -> Tensor:
    """D with less of what makes p longer, and a norm that is at least a share of that of p."""
    X, P = D.flatten(2), p.flatten(2)
    c = inner(X, P) / inner(P, P).clamp(min=1e-12)
    X = X - torch.where(c < 0, (1 - outward) * c, 0) * P
    return (X * (floor * frobenius(P).clamp(min=1e-8) / frobenius(X).clamp(min=1e-8)).clamp(min=1)).reshape(D.shape)


@stacked("element")
def _pinned(new_p: Tensor, D: Tensor, p: Tensor, *, lr: float) -> Tensor:
    """The new p at the length that the radial part of the step makes, to first order."""
    new, X, P = (y.flatten(2) for y in (new_p, D, p))
    length = frobenius(P).clamp(min=1e-8)
    target = (length - lr * inner(X, P) / length).clamp(min=1e-8)
    return (new * (target / frobenius(new).clamp(min=1e-30))).reshape(p.shape)


@stacked("element", "own")
def _renewed(v: Tensor, GG: list[Tensor], Q: list[Tensor], **how: Any) -> tuple[Tensor, list[Tensor]]:
    """v in the order of the bases to come, and these: a step of the QR algorithm."""
    view = View(v.shape[1:], how)
    v, new = view.of(v), []
    for axis, M, B in zip(view.axes, GG, Q, strict=True):
        T = M.double() @ B.double()
        order = (B * T).sum(1).argsort(descending=True)
        v = permuted(v, axis, order)
        new.append(torch.linalg.qr(permuted(T, 2, order)).Q.to(B.dtype))
    return view.back(v), new
