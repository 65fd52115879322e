"""SpectralSphere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from optim_core import decoupled, hyper, state
from optim_core.rules import Value, maximum, norm, stacked
from optim_core_second_order.hidden_matrices import HiddenMatrices
from optim_core_second_order.orthogonal import adjustment, averaged, ns_precision
from optim_core_second_order.selected_slices import iterated
from optim_core_second_order.shapes import Shape
from optim_core_second_order.spectral_tangent import leading_vectors, root_of_rising


def _single(shape: Shape, group: Mapping[str, Any]) -> list[Shape]:
    del shape, group
    return [(1,)]


class SpectralSphere(HiddenMatrices):
    """Matrices of a fixed spectral norm, moved by steps of a fixed spectral norm that do not change it.

    For hidden matrices, which a weight of more dimensions is, too, of dimension 0 by all others; AdamW has the rest, as
    for :class:`~optim_core_second_order.muon.Muon`. R is radius_scaler sqrt(rows/columns), s the spectral norm of p, u
    and v its singular vectors, by ``power_iter_steps`` of power iteration, and msign Newton-Schulz iteration::

        p = p (1 - lr weight_decay)
        M = momentum M + (1 - momentum) g
        G = momentum M + (1 - momentum) g                   with nesterov; otherwise G = M
        G = G / max(|G|, eps)
        p = p R / (s + eps)
        x = the number for which <u v^T, msign(G + x u v^T)> = 0
        p = p - lr R msign(G + x u v^T)

    x is looked for from that of the last step on: doubling steps find where the sign changes, and bisection goes on
    until ``solver_tol`` or ``solver_max_iter``, so that a step costs up to 32 times msign. Both run for all matrices of
    a shape at once.

    The first step brings every matrix to its sphere, whatever it was, and decay is undone by it. The power iteration
    begins from equal numbers. In ``ns_dtype="bfloat16"``, the authors' choice, x is only found to a percent.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.diag(torch.tensor([2.0, 1.0])))
        >>> target = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        >>> optimizer = SpectralSphere([w], lr=0.05, ns_dtype="float32")
        >>> for _ in range(100):
        ...     loss = optimizer.minimize(lambda: (w - target).square().sum())
        >>> bool(loss < 0.1), round(float(torch.linalg.matrix_norm(w.detach(), 2)), 1)
        (True, 1.0)

    Source: Controlled LLM Training on Spectral Sphere, 2026, https://arxiv.org/abs/2601.08393; as in the authors' code.
    """

    lr: float = hyper(0.02, "step size", ge=0, search=(1e-3, 1e-1))
    momentum: float = hyper(0.9, "decay of the average of g", ge=0, lt=1)
    nesterov: bool = hyper(True, "look one gradient ahead")
    radius_scaler: float = hyper(1.0, "spectral norm by sqrt(rows/columns)", gt=0)
    power_iter_steps: int = hyper(5, "steps to the singular vectors", ge=1)
    msign_steps: int = hyper(8, "steps of msign", ge=1)
    solver_tol: float = hyper(1e-6, "largest size of what is to be 0", ge=0)
    solver_max_iter: int = hyper(20, "largest number of bisections", ge=0)
    weight_decay: float = decoupled(0.0)
    eps: float = hyper(1e-7, "least norm", gt=0)
    ns_dtype: str = ns_precision()

    momentum_buffer = state("average of g")
    prev_lambda = state("x", shape=_single)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value,
        prev_lambda: Value,
        *,
        lr: Value,
        momentum: Value,
        nesterov: bool,
        radius_scaler: Value,
        power_iter_steps: Value,
        msign_steps: Value,
        solver_tol: Value,
        solver_max_iter: Value,
        eps: Value,
        ns_dtype: str,
    ) -> tuple[Value, ...]:
        """The update above."""
        M, G = averaged(g, momentum_buffer, momentum, nesterov=nesterov)
        G = G / maximum(norm(G), eps)
        R = radius_scaler * adjustment(p, "spectral")
        how = {"msign_steps": msign_steps, "tol": solver_tol, "bisections": solver_max_iter, "dtype": ns_dtype}
        on_sphere, step, x = _step(p, G, prev_lambda, powers=power_iter_steps, scaler=radius_scaler, eps=eps, **how)
        return (on_sphere if lr > 0 else p) - lr * R * step, M, x


@stacked("element", "element", "own")
def _step(
    p: Tensor,
    G: Tensor,
    prev_lambda: list[Tensor],
    *,
    powers: int,
    scaler: float,
    eps: float,
    msign_steps: int,
    tol: float,
    bisections: int,
    dtype: str,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """p on its sphere, msign(G + x u v^T), and x."""
    W, X = p.flatten(2), G.flatten(2)
    u, v = leading_vectors(W, int(powers), eps)
    radius = scaler * math.sqrt(W.shape[1] / W.shape[2])
    c = radius / ((u * (W @ v)).sum(1, keepdim=True).clamp(min=0) + eps)
    theta = u @ v.mT

    def msign(x: Tensor) -> Tensor:
        how: dict[str, Any] = {"steps": msign_steps, "end": "repeat_last", "dtype": dtype}
        return iterated(X + x * theta, eps, clamp=True, coefficients="polar_express", **how)

    def kept(x: Tensor) -> Tensor:
        return (theta * msign(x)).sum((1, 2), keepdim=True)

    x = root_of_rising(kept, prev_lambda[0].unsqueeze(2), tol, int(bisections))
    W = torch.where((c - 1).abs() > eps, c, 1) * W
    return W.reshape(p.shape), msign(x).reshape(p.shape), [x.squeeze(2)]
