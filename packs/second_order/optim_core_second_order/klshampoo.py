"""KLShampoo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optim_core import extra, hyper, state
from optim_core.rules import Value, lerp, stacked
from optim_core_second_order.kl import decay_of, eigenvalues, factor_shapes, factors, followed, how_of
from optim_core_second_order.noise import RELATIVE, WithNoise
from optim_core_second_order.rotation import View


class KLShampoo(WithNoise):
    """Shampoo whose two matrices are fitted together, so that their product is the gradient's covariance.

    For a matrix g; the first gradient is not used, it only starts GG_i = init_factor I and Q_i = I; then, t counting
    all gradients::

        m = beta1 m + (1 - beta1) g                                    starts at 0, no bias correction
        u = (Q_1 E_1^-1/2 Q_1^T) m (Q_2 E_2^-1/2 Q_2^T)                E_i = max(diag(Q_i^T GG_i Q_i), eps)
        GG_1 = c GG_1 + (1 - c) g (Q_2 E_2^-1 Q_2^T) g^T / columns
        GG_2 = c GG_2 + (1 - c) g^T (Q_1 E_1^-1 Q_1^T) g / rows        c = 1 - (1 - shampoo_beta) / (1 - shampoo_beta^t)
        Q_i = QR(GG_i Q_i + lift Q_i)                                  every precondition_frequency steps
        GG_1, GG_2: their largest elements are made equal              their product stays
        p = p (1 - lr weight_decay) - lr u

    The exponent is -1/2 for each axis, where Shampoo has -1/4. The gradient in GG has normal noise of size
    dampening + 1.2e-7 |g|, which keeps it from rank one; ``dampening=0`` leaves all of it out.

    Meant for matrices: ``merge_dims`` makes some of convolutions. What is not a matrix after it, or has an axis longer
    than ``max_precond_dim``, takes plain sums of G G^T, still with -1/2 for each axis: steps of the order of g/|g|^k.
    Tensors of one dimension take momentum alone, whose steps depend on the size of g: give them to another method.
    betas[1] is not used, as in heavyball, which this follows: the authors published no code.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.eye(2))
        >>> optimizer = KLShampoo([w], lr=0.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(20)]
        >>> losses[0] == losses[1] > 2 * losses[-1]
        True

    Source: Lin et al., Understanding and Improving Shampoo and SOAP via Kullback-Leibler Minimization, 2025,
    https://arxiv.org/abs/2509.03378; order of the steps, lift, balance and first step as in heavyball.
    """

    lr: float = hyper(3e-3, "step size", ge=0, search=(3e-4, 3e-1))
    betas: tuple[float, float] = hyper((0.9, 0.95), "decay of the average of g; the second is not used", ge=0, lt=1)
    shampoo_beta: float = hyper(0.95, "decay of the matrices", ge=0, lt=1)
    eps: float = hyper(1e-8, "least eigenvalue, least share of the lift", gt=0)
    weight_decay: float = hyper(0.01, "decoupled decay, times lr", ge=0)
    precondition_frequency: int = hyper(2, "steps from one basis to the next", ge=1)
    max_precond_dim: int = hyper(2048, "longest axis that is rotated", ge=0)
    merge_dims: bool = hyper(True, "merge short neighbouring axes first")
    precondition_1d: bool = hyper(False, "rotate tensors of one dimension too")
    init_factor: float = hyper(0.1, "the matrices start as this times the identity", gt=0)
    dampening: float = hyper(1e-9, "least size of the noise; 0 for none", ge=0, common=True)

    exp_avg = state("average of g")
    GG = state("the matrices", shape=factor_shapes)
    Q = state("bases", shape=factor_shapes)
    noise = extra("normal noise; None without dampening")

    def extras(self, params: Sequence[Tensor]) -> Mapping[str, Sequence[Tensor]]:
        """Noise, if there is to be some."""
        return {"noise": [self.draw(p) for p in params]} if self.param_groups[0]["dampening"] else {}

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        noise: Value | None,
        exp_avg: Value,
        GG: Value | None,
        Q: Value | None,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        shampoo_beta: Value,
        eps: Value,
        weight_decay: Value,
        precondition_frequency: Value,
        max_precond_dim: Value,
        merge_dims: bool,
        precondition_1d: bool,
        init_factor: Value,
        dampening: Value,
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        if step == 1:
            begun = (None, None) if GG is None else _begun(Q, size=init_factor)
            return p, exp_avg, *begun
        how = how_of(max_precond_dim=max_precond_dim, merge_dims=merge_dims, precondition_1d=precondition_1d)
        m = lerp(g, exp_avg, betas[0])
        u = m
        if GG is not None:
            u = _turned(m, GG, Q, eps=eps, **how)
            seen = g if noise is None else g + (dampening + RELATIVE * abs(g)) * noise
            GG = factors(GG, Q, seen, decay=decay_of(shampoo_beta, step), eps=eps, **how)
            Q = followed(GG, Q, eps=eps) if step % precondition_frequency == 0 else Q
            GG = _balanced(GG)
        return p * (1 - lr * weight_decay) - lr * u, m, GG, Q


@stacked("own", "own")
def _begun(Q: list[Tensor], *, size: float) -> tuple[list[Tensor], list[Tensor]]:
    """The first matrices and bases."""
    identity = [torch.eye(M.shape[1], dtype=M.dtype, device=M.device).expand_as(M) for M in Q]
    return [size * M for M in identity], identity


@stacked("element")
def _turned(m: Tensor, GG: list[Tensor], Q: list[Tensor], *, eps: float, **how: Any) -> Tensor:
    """Q E^-1/2 Q^T along every axis."""
    view = View(m.shape[1:], how)
    roots = [B * eigenvalues(M, B, eps).rsqrt().unsqueeze(1) @ B.mT for M, B in zip(GG, Q, strict=True)]
    return view.back(view.along_axes(view.of(m), roots))


@stacked("own")
def _balanced(GG: list[Tensor]) -> list[Tensor]:
    """The matrices with equal largest elements."""
    if len(GG) < 2:
        return GG
    sizes = torch.stack([M.abs().amax((1, 2)) for M in GG]).clamp(min=torch.finfo(GG[0].dtype).tiny)
    factor = sizes.log().mean(0).exp() / sizes
    return [M * f.reshape(-1, 1, 1) for M, f in zip(GG, factor, strict=True)]
