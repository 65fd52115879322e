"""PSGD fitted to whiten the gradient, in the conventions of heavyball: what PSGDPRO, QSGD and LATHER share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optim_core import decoupled, extra, hyper, state
from optim_core.rules import Value, lerp, stacked
from optim_core_second_order.axes import along, unfolded
from optim_core_second_order.noise import RELATIVE, WithNoise
from optim_core_second_order.shapes import Shape, kron_factors, without_ones


def factors_of(shape: Shape, group: Mapping[str, Any]) -> list[Shape]:
    """For every axis longer than 1 a square factor, or its diagonal."""
    sizes = (group["max_size_triangular"], group["min_ndim_triangular"])
    return kron_factors(without_ones(shape), *sizes, group["memory_save_mode"])


def _bounds(shape: Shape, group: Mapping[str, Any]) -> list[Shape]:
    return [() for _ in factors_of(shape, group)]


class Rhythm(WithNoise):
    """Base of methods that fit something in some steps.

    They declare the option ``preconditioner_update_probability`` and the state ``fits``, the sum of the probabilities
    so far, of the whole model.
    """

    def update_probability(self, step: int) -> float:
        """Fits a step, in the step of this number."""
        fixed = self.param_groups[0]["preconditioner_update_probability"]
        return max(0.03, 0.999 ** max(step - 1000, 0)) if fixed is None else float(fixed)

    def next_fit(self) -> int | None:
        """The number of the fit in this step, from 0; None where the sum does not pass a whole number."""
        before = float(self.whole["fits"])
        now = before + self.update_probability(self.whole_step + 1)
        # on the CPU, since the host reads it
        self.set_whole("fits", torch.tensor(now, dtype=torch.float64, device="cpu"))
        return int(before) if int(now) > int(before) else None


class PSGD(Rhythm):
    """Base of methods with a factor Q_j for each axis, such that the Kronecker product of Q_j^T Q_j whitens gradients.

    The factors are fitted in some steps, which the rule knows by ``noise``: None in the others.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 3e-2))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of its square", ge=0, lt=1)
    weight_decay: float = decoupled(0.0)
    preconditioner_update_probability: float | None = hyper(
        None, "fits of Q a step, None for a schedule", ge=0, le=1, common=True
    )
    max_size_triangular: int = hyper(2048, "longest axis with a full factor", ge=0)
    min_ndim_triangular: int = hyper(2, "fewest dimensions with full factors", ge=0)
    memory_save_mode: str | None = hyper(
        None, "which axes have diagonal factors", choices=("one_diag", "smart_one_diag", "all_diag")
    )
    precond_lr: float = hyper(0.1, "step size of Q", ge=0)
    precond_init_scale: float | None = hyper(None, "first Q: this times the identity; None: from the first g", gt=0)
    lower_bound_beta: float = hyper(0.9, "decay of the bound of the spectral norm", ge=0, lt=1)
    dampening: float = hyper(1e-9, "least size of the noise that g has for a fit; 0 for none", ge=0, common=True)
    precond_update_power_iterations: int = hyper(2, "iterations for a spectral norm", ge=0)

    noise = extra("normal noise; None in a step that does not fit Q")
    Q = state("factors", shape=factors_of)
    running_lower_bound = state("bounds of the spectral norms", shape=_bounds)
    fits = state("sum of the probabilities so far", level="whole")

    def extras(self, params: Sequence[Tensor]) -> Mapping[str, Sequence[Tensor]]:
        """Noise, in a step that fits Q."""
        return {} if self.next_fit() is None else {"noise": [self.noise_of(p) for p in params]}

    def noise_of(self, p: Tensor) -> Tensor:
        """Noise for a parameter; zeros without dampening."""
        return self.draw(p) if self.param_groups[0]["dampening"] else torch.zeros_like(p)


class AveragePSGD(PSGD):
    """Base of those that precondition a corrected average of the gradient."""

    momentum_into_precond_update: bool = hyper(True, "fit Q to the average of g, not to g")

    exp_avg = state("average of g, corrected")

    @staticmethod
    def prepared(
        g: Value,
        noise: Value | None,
        Q: Value,
        bounds: Value,
        exp_avg: Value,
        *,
        betas: tuple[Value, Value],
        momentum_into_precond_update: bool,
        precond_init_scale: Value | None,
        dampening: Value,
        step: Value,
        **how: Value,
    ) -> tuple[Value, Value, Value]:
        """The factors, fitted if there is noise; their bounds; and the average."""
        m = lerp(g, exp_avg, folded(betas[0], step))
        if step == 1:
            Q = begun(Q, g, scale=precond_init_scale)
        if noise is not None:
            G = damped(m if momentum_into_precond_update else g, noise, dampening)
            Q, bounds = fitted(Q, bounds, G, **how)
        return Q, bounds, m


def folded(beta: Value, step: Value) -> Value:
    """The decay that makes an average bias-corrected by itself; 0 in the first step."""
    return 1 - (1 - beta) / (1 - beta**step)


def damped(g: Value, noise: Value, dampening: Value | float) -> Value:
    """g with the noise that keeps its covariance from being singular."""
    return g + (dampening + RELATIVE * abs(g)) * noise if dampening else g


# functions of stacks ----------------------------------------------------------------------------------------------
@stacked("own")
def begun(Q: list[Tensor], g: Tensor, *, scale: float | None) -> list[Tensor]:
    """The first factors; without a scale such that they bring the first gradient to size 1, roughly."""
    sizes = torch.full_like(g.reshape(len(g), -1)[:, 0], scale or 1.0)
    if scale is None:
        x = g.reshape(len(g), -1).abs()
        largest = x.amax(1).clamp(min=1e-12)  # taken out, since fourth powers are soon too small or too large
        found = largest**-0.25 * (x / largest.unsqueeze(1)).clamp(min=1e-12).pow(4).mean(1) ** (-1 / 16)
        sizes = torch.where(x.amax(1) > 0, found, sizes)  # a first gradient of zero tells nothing
    each = sizes ** (1 / len(Q))
    return [each.reshape(-1, *(1 for _ in q.shape[1:])) * identity(q) for q in Q]


@stacked("element")
def whitened(h: Tensor, Q: list[Tensor]) -> Tensor:
    """Q_j^T Q_j along every axis."""
    return covered(viewed(h), Q).reshape(h.shape)


@stacked("element")
def halfway(h: Tensor, Q: list[Tensor]) -> Tensor:
    """Q_j along every axis."""
    x = viewed(h)
    for axis, q in enumerate(Q, start=1):
        x = along(x, axis, q)
    return x.reshape(h.shape)


@stacked("own", "own")
def fitted(
    Q: list[Tensor],
    bounds: list[Tensor],
    G: Tensor,
    *,
    precond_lr: float,
    lower_bound_beta: float,
    power_iterations: int,
) -> tuple[list[Tensor], list[Tensor]]:
    """The factors after a step, brought back towards symmetry by a rotation; all see the same gradient."""
    Q = balanced(Q)
    X = covered(viewed(G), Q)
    new, new_bounds = [], []
    for axis, (q, bound) in enumerate(zip(Q, bounds, strict=True), start=1):
        x = unfolded(X, axis)
        t = x.shape[2]  # of all elements by the axis
        if q.ndim == 2:
            C = x.square().sum(2)
            L = raised(C.amax(1) + t, bound, lower_bound_beta)
            new.append(q - precond_lr * q * (C - t) / L.unsqueeze(1))
        else:
            C = x @ x.mT
            L = raised(spectral_norm(C, power_iterations) + t, bound, lower_bound_beta)
            new.append(_rotated(q - precond_lr * (C @ q - t * q) / L.reshape(-1, 1, 1), power_iterations))
        new_bounds.append(L)
    return new, new_bounds


def viewed(x: Tensor) -> Tensor:
    """A stack without the axes of 1."""
    return x.reshape(len(x), *without_ones(tuple(x.shape[1:])))


def covered(x: Tensor, Q: Sequence[Tensor]) -> Tensor:
    """Q_j^T Q_j along every axis of a view."""
    for axis, q in enumerate(Q, start=1):
        x = along(along(x, axis, q), axis, q.mT if q.ndim == 3 else q)
    return x


def balanced(Q: Sequence[Tensor]) -> list[Tensor]:
    """The factors with equal largest elements; their product stays."""
    sizes = torch.stack([q.abs().flatten(1).amax(1) for q in Q]).clamp(min=torch.finfo(Q[0].dtype).tiny)
    change = sizes.log().mean(0).exp() / sizes
    return [q * c.reshape(-1, *(1 for _ in q.shape[1:])) for q, c in zip(Q, change, strict=True)]


def raised(norm: Tensor, bound: Tensor, beta: float) -> Tensor:
    """A spectral norm, or what is left of larger ones before."""
    return torch.maximum(norm, bound + (norm - bound) * (1 - beta))


def spectral_norm(S: Tensor, iterations: int) -> Tensor:
    """About the spectral norm of matrices that are symmetric, or antisymmetric, by power iteration."""
    tiny = torch.finfo(S.dtype).tiny
    lengths: Tensor = torch.linalg.vector_norm(S, dim=2)
    n, longest = lengths.max(1)
    n = n.clamp(min=tiny)
    scaled = S / n.reshape(-1, 1, 1)
    x = scaled.gather(1, longest.reshape(-1, 1, 1).expand(-1, 1, S.shape[2])).mT
    for _ in range(int(iterations)):
        x = scaled.mT @ (scaled @ x)
        length: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True)
        x = x / length.clamp(min=tiny)
    product: Tensor = torch.linalg.vector_norm(scaled @ x, dim=(1, 2))
    return n * product


def _rotated(q: Tensor, iterations: int) -> Tensor:
    """q after one rotation towards a symmetric matrix, as far as it helps."""
    R = q.mT - q
    R = R / (spectral_norm(R, iterations) + torch.finfo(q.dtype).tiny).reshape(-1, 1, 1)
    A = R @ q
    B = R @ A
    c1, c2 = (M.diagonal(dim1=1, dim2=2).sum(1) for M in (A, B))
    a = torch.where(c2 < 0, (-c1 / torch.where(c2 < 0, c2, -1.0)).clamp(0, 0.5), 0.5).reshape(-1, 1, 1)
    return q + a * A + 0.5 * a**2 * B


def identity(like: Tensor) -> Tensor:
    """Identity matrices, or their diagonals."""
    if like.ndim == 2:
        return torch.ones_like(like)
    return torch.eye(like.shape[1], dtype=like.dtype, device=like.device).expand_as(like)
