"""ScalableShampoo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from optim_core import hyper, state
from optim_core.methods import in_blocks
from optim_core.optimizers import RuleOptimizer
from optim_core.rules import Value, norm, sqrt, square, stacked
from optim_core_second_order.blocks import added, cut, joined, turned
from optim_core_second_order.roots import inverse_roots
from optim_core_second_order.shapes import Shape, scalable_view, squares


def _view(shape: Shape, group: Mapping[str, Any]) -> Shape:
    return scalable_view(shape, group["block_size"], merge=group["best_effort_shape_interpretation"])


def _squares(shape: Shape, group: Mapping[str, Any]) -> list[Shape] | None:
    return squares(_view(shape, group), group["block_size"]) if _view(shape, group) else None


def _until_start(shape: Shape, group: Mapping[str, Any]) -> Shape | None:
    """Where there is a difference between the two momenta, and for steps in which it matters."""
    return shape if _view(shape, group) and group["start_preconditioning_step"] > 1 else None


class ScalableShampoo(RuleOptimizer):
    """Shampoo on blocks, with the length of every step taken from a simpler method ("grafting").

    Short neighbouring axes are merged and long ones cut into blocks; r axes are left. For every block and each of its
    axes, G_i being the block of the gradient with axis i in front, t counting from 1::

        H_i = beta2 H_i + (1 - beta2) G_i G_i^T               beta2 = 1: the sum; starts as matrix_eps I
        P_i = (H_i + matrix_eps max eigenvalue of H_i)^(-1/2r)
        a = g, or g / (sqrt(sum of g^2) + diagonal_eps)       graft_type "sgd" or "adagrad"
        x = g P_1 ... P_r ||a|| / ||x||                       lengths of the whole tensor; graft_type "none": as it is
        m = momentum m + x + weight_decay p                   nesterov: u = momentum m + x + weight_decay p
        p = p - lr u                                          u = m without nesterov

    Before ``start_preconditioning_step`` a takes the place of x (its momentum runs from the start), and in tensors of
    one axis always: with the default ``block_size`` small layers merge into one. H is renewed at every step that
    ``statistics_compute_steps`` divides, P at every one that ``preconditioning_compute_steps`` does.

    The authors' PyTorch code has defects that their later one for optax has not, and that are absent here: Nesterov's
    step written into the momentum, gradient and graft in the same memory, a ridge that grows, a largest eigenvalue from
    a random start. Its lr of 1 is for a graft that is tuned, with warm-up; the default here is a tenth.
    pytorch-optimizer's version has no ridge, refuses beta2 = 1 and has other defaults.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.eye(2))
        >>> options = {"best_effort_shape_interpretation": False, "graft_type": "none", "nesterov": False}
        >>> loss = ScalableShampoo([w], lr=0.5, **options).minimize(lambda: 5 * w.square().sum())
        >>> torch.allclose(w, 0.5 * torch.eye(2))
        True

    Source: Anil et al., Scalable Second Order Optimization for Deep Learning, 2020, Algorithm 1,
    https://arxiv.org/abs/2002.09018; details as in the authors' code.
    """

    blocks: str | None = in_blocks()
    lr: float = hyper(0.1, "step size", ge=0, search=(1e-3, 1.0))
    momentum: float = hyper(0.9, "heavy-ball factor, without dampening", ge=0, lt=1)
    beta2: float = hyper(1.0, "decay of the statistics; 1 sums them up", gt=0, le=1)
    diagonal_eps: float = hyper(1e-6, "added to the root of the adagrad graft", gt=0)
    matrix_eps: float = hyper(1e-12, "start of the statistics; ridge, as a share of the largest eigenvalue", gt=0)
    weight_decay: float = hyper(0.0, "coefficient of p, added after grafting, before the momentum", ge=0)
    inverse_exponent_override: int = hyper(0, "root in the place of 2r, 0 for 2r", ge=0)
    start_preconditioning_step: int = hyper(1, "before this step the graft moves the weights", ge=0)
    preconditioning_compute_steps: int = hyper(1, "steps from one computation of the roots to the next", ge=1)
    statistics_compute_steps: int = hyper(1, "steps from one update of the statistics to the next", ge=1)
    block_size: int = hyper(128, "longest side of a block, and of merged axes; 0 cuts and merges nothing", ge=0)
    best_effort_shape_interpretation: bool = hyper(True, "merge short neighbouring axes")
    graft_type: str = hyper("sgd", "what gives a step its length", choices=("sgd", "adagrad", "none"))
    nesterov: bool = hyper(True, "look one step ahead")

    momentum_buffer = state("momentum of the steps")
    graft_momentum = state("momentum of the grafts", shape=_until_start)
    graft_sum = state("sum of g squared", when=lambda group: group["graft_type"] == "adagrad")
    statistics = state("H, for every kind of block and each axis", shape=_squares)
    inverse_roots = state("P", shape=_squares)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value,
        graft_momentum: Value | None,
        graft_sum: Value | None,
        statistics: Value | None,
        inverse_roots: Value | None,
        *,
        lr: Value,
        momentum: Value,
        beta2: Value,
        diagonal_eps: Value,
        matrix_eps: Value,
        weight_decay: Value,
        inverse_exponent_override: Value,
        start_preconditioning_step: Value,
        preconditioning_compute_steps: Value,
        statistics_compute_steps: Value,
        block_size: Value,
        best_effort_shape_interpretation: bool,
        graft_type: str,
        nesterov: bool,
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        H, P = statistics, inverse_roots
        x = a = g
        if graft_sum is not None:
            graft_sum = graft_sum + square(g)
            x = a = g / (sqrt(graft_sum) + diagonal_eps)
        if H is not None:
            how = {"block_size": block_size, "merge": best_effort_shape_interpretation}
            if step == 1:
                H, P = _identities(H, ridge=matrix_eps)
            if step % statistics_compute_steps == 0:
                H = _averaged(H, g, beta2=beta2, **how)
            if step % preconditioning_compute_steps == 0:
                P = _roots(H, g, root=inverse_exponent_override, ridge=matrix_eps, **how)
            x = _turned(g, P, **how)
            x = x if graft_type == "none" else x * (norm(a) / (norm(x) + 1e-16))
        x, a = x + weight_decay * p, a + weight_decay * p
        m = momentum_buffer = momentum * momentum_buffer + x
        if graft_momentum is not None:
            graft_momentum = momentum * graft_momentum + a
            if step < start_preconditioning_step:
                m, x = graft_momentum, a
        u = momentum * m + x if nesterov else m
        return p - lr * u, momentum_buffer, graft_momentum, graft_sum, H, P


@stacked("own", "own")
def _identities(H: list[Tensor], *, ridge: float) -> tuple[list[Tensor], list[Tensor]]:
    """The first H and P."""
    P = [torch.eye(M.shape[-1], dtype=M.dtype, device=M.device).expand_as(M) for M in H]
    return [ridge * M for M in P], P


@stacked("own")
def _averaged(H: list[Tensor], g: Tensor, *, beta2: float, **how: Any) -> list[Tensor]:
    """H with the gradient's Gram matrices."""
    share = 1 if beta2 == 1 else 1 - beta2
    return added(H, cut(_viewed(g, **how), how["block_size"]), keep=beta2, share=share)


@stacked("own")
def _roots(H: list[Tensor], g: Tensor, *, root: int, ridge: float, **how: Any) -> list[Tensor]:
    """P; g is there for its shape."""
    return inverse_roots(H, root or 2 * (_viewed(g, **how).ndim - 1), ridge, relative=True)


@stacked("element")
def _turned(g: Tensor, P: list[Tensor], **how: Any) -> Tensor:
    """The gradient with P applied to its blocks."""
    G = _viewed(g, **how)
    return joined(turned(cut(G, how["block_size"]), P), G, how["block_size"]).reshape(g.shape)


def _viewed(g: Tensor, *, block_size: int, merge: bool) -> Tensor:
    """A stack in the shape in which it is cut into blocks."""
    return g.reshape(len(g), *scalable_view(g.shape[1:], block_size, merge=merge))
