"""Kron: PSGD with Kronecker factors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optim_core import hyper, state
from optim_core.methods import extra, in_blocks, tensors_of
from optim_core.rules import Value, lerp, mean, minimum, sqrt, square, stacked
from optim_core_second_order.axes import along, solved, unfolded
from optim_core_second_order.noise import WithNoise
from optim_core_second_order.shapes import Shape, kron_factors, kron_view

_NOISE = 2.0**-11.5  # the root of float32's eps


def _factors(shape: Shape, group: Mapping[str, Any]) -> list[Shape]:
    view = kron_view(shape, merge=group["merge_dims"])
    sizes, mode = (group["max_size_triangular"], group["min_ndim_triangular"]), group["memory_save_mode"]
    return kron_factors(view, *sizes, mode)


class Kron(WithNoise):
    """A preconditioner with one triangular factor for each axis, fitted on the way so that it whitens the gradient.

    P = Q^T Q, Q being the Kronecker product of upper triangular Q_j. Tensors of more than two dimensions count as
    matrices. mat_j puts axis j in front and flattens the others; V is normal noise::

        m = b1 m + (1 - b1) g;   h = m / (1 - b1^t)
        G = h + 2^-11.5 mean|h| V                        where Q is renewed in this step
        A = Q G;   B = Q^-T V
        T1 = mat_j(A) mat_j(A)^T;   T2 = mat_j(B) mat_j(B)^T
        Q_j = Q_j - precond_lr triu(T1 - T2) Q_j / L     L: a lower bound of the spectral norm of T1 + T2
        u = Q^T Q G
        p = p - lr (u min(1, 1.1 / RMS(u)) + weight_decay p)

    Axes of length 1 or longer than ``max_size_triangular``, and tensors of fewer than ``min_ndim_triangular``
    dimensions, have diagonal factors; so has the longest axis with ``memory_save_mode="one_diag"``
    ("smart_one_diag": if it is alone in its length), and every axis with "all_diag". In about one renewal of a hundred
    the factors of a tensor are first brought to one size. Vectors are not decayed.

    ``preconditioner_update_probability`` is a rhythm in truth: Q is renewed when 1 / probability steps have passed; 0
    is never, None one at every step for 500 steps and then ever fewer, down to 3 in a hundred. Override
    ``update_probability`` for another schedule. With ``momentum_into_precond_update=False`` Q sees the raw gradient,
    and the noise stays out of the step.

    The rhythm and the draws are part of the state dict; the authors' are not. Factors have the parameter's type (at
    least float32), where theirs have float32 always. timm and pytorch-optimizer use lr 1e-3 and merge nothing; timm
    decays vectors, too.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, -1.0], [2.0, 0.5]]))
        >>> optimizer = Kron([w], lr=0.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(40)]
        >>> losses[-1] < 0.2 * losses[0]
        True

    Source: Pooladzandi and Li, Curvature-Informed SGD via General Purpose Lie-Group Preconditioners, 2024,
    https://arxiv.org/abs/2402.04553; merging, clipping, rhythm and balancing as in the code named in the spec.
    """

    blocks: str | None = in_blocks()
    lr: float = hyper(3e-4, "step size, about a third of Adam's", ge=0, search=(1e-4, 1e-1))
    b1: float = hyper(0.9, "decay of the average of g", ge=0, lt=1)
    weight_decay: float = hyper(0.0, "decoupled decay, times lr, for two dimensions and more", ge=0)
    preconditioner_update_probability: float | None = hyper(
        None, "renewals of Q a step, None for a schedule", ge=0, le=1, common=True
    )
    max_size_triangular: int = hyper(8192, "longest axis with a full factor", ge=0)
    min_ndim_triangular: int = hyper(2, "fewest dimensions with full factors", ge=0)
    memory_save_mode: str | None = hyper(
        None, "which axes have diagonal factors", choices=("one_diag", "smart_one_diag", "all_diag")
    )
    momentum_into_precond_update: bool = hyper(True, "fit Q to the average of g, not to g")
    precond_lr: float = hyper(0.1, "step size of Q", ge=0)
    precond_init_scale: float = hyper(1.0, "first Q: this times the identity", gt=0)
    merge_dims: bool = hyper(True, "make matrices of tensors of more than two dimensions")
    precond_dtype: str | None = hyper(
        None, "precision of all that Q takes part in; None for the parameter's", choices=("float32", "float64")
    )
    balance_probability: float = hyper(0.01, "share of renewals with balancing", ge=0, le=1, common=True)

    momentum_buffer = state("average of g")
    Q = state("factors", shape=_factors)
    waited = state("steps since Q was renewed", level="whole")
    V = extra("noise; None in a step that does not renew Q")

    def update_probability(self, step: int) -> float:
        """Renewals of Q a step, after ``step`` steps."""
        fixed = self.param_groups[0]["preconditioner_update_probability"]
        return max(0.03, min(1.0, math.exp(-0.001 * (step - 500)))) if fixed is None else float(fixed)

    def extras(self, params: Sequence[Tensor]) -> Mapping[str, Sequence[Tensor]]:
        """Noise, in a step that renews Q; the factors are balanced here, before it."""
        waited = float(self.whole.get("waited", 0)) + 1
        probability = self.update_probability(self.whole_step)
        due = probability > 0 and waited >= 1 / probability
        # on the CPU, since the host reads it
        self.set_whole("waited", torch.tensor(0.0 if due else waited, dtype=torch.float64, device="cpu"))
        if not due:
            return {}
        cpu = torch.device("cpu")
        coin = torch.rand((), generator=self.generator(cpu), device=cpu, dtype=torch.float32)
        if coin < self.param_groups[0]["balance_probability"]:
            for p in params:
                _balance(tensors_of(self.state[p], "Q"))
        return {"V": [self.draw(p) for p in params]}

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        V: Value | None,
        momentum_buffer: Value,
        Q: Value,
        *,
        lr: Value,
        b1: Value,
        weight_decay: Value,
        momentum_into_precond_update: bool,
        precond_lr: Value,
        precond_init_scale: Value,
        merge_dims: bool,
        precond_dtype: str | None,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        momentum_buffer = lerp(g, momentum_buffer, b1)
        h = momentum_buffer / (1 - b1**step)
        how = {"merge": merge_dims, "dtype": precond_dtype}
        if step == 1:
            Q = _begun(Q, scale=precond_init_scale)
        if V is not None:
            G = h if momentum_into_precond_update else g
            G = G + _NOISE * mean(abs(G)) * V
            h = G if momentum_into_precond_update else h
            Q = _renewed(Q, G, V, precond_lr=precond_lr, **how)
        u = _turned(h, Q, **how)
        u = u * minimum(1.1 / (sqrt(mean(square(u))) + 1e-12), 1)
        u = u + weight_decay * p if p.ndim > 1 else u
        return p - lr * u, momentum_buffer, Q


@stacked("own")
def _begun(Q: list[Tensor], *, scale: float) -> list[Tensor]:
    """The first factors."""
    return [scale ** (1 / len(Q)) * _identity(q) for q in Q]


@stacked("element")
def _turned(h: Tensor, Q: list[Tensor], *, merge: bool, dtype: str | None) -> Tensor:
    """Q_i^T Q_i along every axis."""
    u, *factors = _viewed(h, Q, merge=merge, dtype=dtype)
    for axis, q in enumerate(factors, start=1):
        u = along(along(u, axis, q), axis, q.mT if q.ndim == 3 else q)
    return u.reshape(h.shape).to(h.dtype)


@stacked("own")
def _renewed(
    Q: list[Tensor], G: Tensor, V: Tensor, *, precond_lr: float, merge: bool, dtype: str | None
) -> list[Tensor]:
    """Every factor after a step; all see the same A and B."""
    A, *factors = _viewed(G, Q, merge=merge, dtype=dtype)
    B = V.reshape(A.shape).to(A.dtype)
    for axis, q in enumerate(factors, start=1):
        A = along(A, axis, q)
        B = along(B, axis, 1 / q) if q.ndim == 2 else solved(q.mT, B, axis)
    renewed = []
    for axis, q in enumerate(factors, start=1):
        a, b = unfolded(A, axis), unfolded(B, axis)
        tiny = torch.finfo(q.dtype).tiny
        if q.ndim == 2:
            T1, T2 = a.square().sum(2), b.square().sum(2)
            largest = (T1 + T2).amax(1, keepdim=True).clamp(min=tiny)
            renewed.append(q - precond_lr * (T1 - T2) * q / largest)
        else:
            T1, T2 = a @ a.mT, b @ b.mT
            bound = _spectral_bound(T1 + T2).clamp(min=tiny)
            renewed.append(q - precond_lr * (T1 - T2).triu() / bound @ q)
    return renewed


def _viewed(x: Tensor, Q: list[Tensor], *, merge: bool, dtype: str | None) -> list[Tensor]:
    """A stack in the shape in which it is preconditioned, and the factors, in the precision for both."""
    view = x.reshape(len(x), *kron_view(x.shape[1:], merge=merge))
    return [y if dtype is None else y.to(getattr(torch, dtype)) for y in (view, *Q)]


def _spectral_bound(S: Tensor) -> Tensor:
    """A lower bound of the spectral norm of symmetric matrices, near to it: S on its longest column, twice."""
    s = S.abs().amax((1, 2), keepdim=True)
    scaled = S / s.clamp(min=torch.finfo(S.dtype).tiny)
    longest = scaled.square().sum(1).argmax(1).reshape(-1, 1, 1).expand(-1, S.shape[1], 1)
    x = scaled.gather(2, longest).mT @ scaled
    x = x / torch.linalg.vector_norm(x, dim=2, keepdim=True).clamp(min=torch.finfo(S.dtype).tiny)
    length: Tensor = torch.linalg.vector_norm(x @ scaled.mT, dim=2, keepdim=True)
    return s * length


def _balance(Q: Sequence[Tensor]) -> None:
    """Bring the factors of one tensor to one size, in place; their product stays."""
    if len(Q) > 1:
        sizes = torch.stack([q.abs().amax() for q in Q])
        for q, factor in zip(Q, sizes.log().mean().exp() / sizes, strict=True):
            q.mul_(factor)


def _identity(like: Tensor) -> Tensor:
    """Identity matrices, or their diagonals."""
    if like.ndim == 2:
        return torch.ones_like(like)
    return torch.eye(like.shape[1], dtype=like.dtype, device=like.device).expand_as(like)
