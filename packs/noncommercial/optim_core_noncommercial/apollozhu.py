"""APOLLOZhu."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optim_core import RuleOptimizer, hyper, state
from optim_core.methods import tensors_of
from optim_core.rules import Value, lerp, maximum, norm, sqrt, square, stacked

Shape = tuple[int, ...]


def _side(shape: Sequence[int], proj_type: str) -> int:
    """The axis of a matrix that is projected: 0 for rows."""
    tall = shape[0] >= shape[1]
    return {"left": 0, "right": 1, "std": int(tall), "reverse_std": int(not tall)}[proj_type]


def _seen(shape: Shape, group: Mapping[str, Any]) -> Shape:
    """The shape of what the averages are of."""
    if len(shape) != 2 or group["rank"] is None:
        return shape
    side, r = _side(shape, group["proj_type"]), min(group["rank"], *shape)
    return (shape[0], r) if side else (r, shape[1])


def _basis(shape: Shape, group: Mapping[str, Any]) -> list[Shape] | None:
    """A column for each dimension of the auxiliary space."""
    if len(shape) != 2 or group["rank"] is None:
        return None
    return [(shape[_side(shape, group["proj_type"])], min(group["rank"], *shape))]


def auxiliary_size(shape: Shape) -> int:
    """As the parameter; of a matrix the shorter side is at most 256."""
    rows, columns = (
        _seen(shape, {"rank": 256, "proj_type": "std"}) if len(shape) == 2 else (1, torch.Size(shape).numel())
    )
    return rows * columns


def basis_size(shape: Shape) -> int:
    """The shorter side of a matrix times at most 256; nothing for other parameters."""
    return sum(d * r for d, r in _basis(shape, {"rank": 256, "proj_type": "std"}) or ())


class APOLLOZhu(RuleOptimizer):
    """The gradient of a matrix, each channel scaled as AdamW scales it in a small auxiliary space.

    P projects the shorter side of a matrix to ``rank`` dimensions ("std"); it is drawn anew every ``update_proj_gap``
    steps (or made of the gradient's singular vectors, with proj="svd"), s = lr sqrt(1 - beta2^t) / (1 - beta1^t)::

        h = P g
        m = beta1 m + (1 - beta1) h;   v = beta2 v + (1 - beta2) h^2;   n = m / (sqrt(v) + eps)
        c = ||n|| / (||h|| + 1e-8)             of each channel, an index of the longer side; "tensor": of the matrix
        u = c g                                the whole gradient: nothing is projected back
        u = u / max(||u|| / (Z + 1e-8), 1.01) * 1.01;   Z = ||u||       the norm grows by 1 % a step at most
        p = p - s sqrt(scale) u
        p = p - lr weight_decay p

    What is not a matrix, and groups with ``rank=None``, take plain AdamW. ``scale_front`` multiplies by sqrt(scale)
    before the limit, ``disable_nl`` leaves the limit out. APOLLO has a rank of a quarter of the hidden size;
    APOLLO-Mini rank 1, scale_type="tensor" and scale 128. m and v stay as they are when P changes. After a gradient of
    zero, or a tiny one, steps take long to recover.

    A projection's seed follows from the parameter's number, as in the authors' code, and is drawn on the CPU. Apollo of
    Ma (2020) is another method, a diagonal quasi-Newton one. pytorch-optimizer's APOLLO brings the projected gradient
    back, so that its steps stay in the auxiliary space.

    The authors' code is under CC-BY-NC-4.0; this is written from the formulas, under the licence of its pack.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, 1.0], [0.0, 2.0], [1.0, 1.0]]))
        >>> optimizer = APOLLOZhu([w], lr=0.1, rank=1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(20)]
        >>> losses[-1] < 0.5 * losses[0]
        True

    Source: Zhu et al., APOLLO: SGD-like Memory, AdamW-level Performance, 2024, Algorithm 1,
    https://arxiv.org/abs/2412.05270.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-3, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of h and of its square", ge=0, lt=1)
    eps: float = hyper(1e-6, "added to the root, before bias correction", gt=0)
    weight_decay: float = hyper(0.0, "decoupled decay, times lr, after the step", ge=0)
    correct_bias: bool = hyper(True, "correct the averages as Adam does")
    scale_front: bool = hyper(False, "scale before the limit")
    disable_nl: bool = hyper(False, "leave the limit out")
    rank: int | None = hyper(256, "dimension of the auxiliary space; None for plain AdamW", ge=1)
    update_proj_gap: int = hyper(200, "steps from one projection to the next", ge=1)
    scale: float = hyper(1.0, "its root is a factor of the step of a matrix", ge=0)
    proj: str = hyper("random", "what the projection is", choices=("random", "svd"))
    proj_type: str = hyper("std", "which side is projected", choices=("std", "reverse_std", "left", "right"))
    scale_type: str = hyper("channel", "what has a factor of its own", choices=("channel", "tensor"))

    by_position = True

    exp_avg = state("average of h", shape=_seen)
    exp_avg_sq = state("average of h squared", shape=_seen)
    projection = state("P", shape=_basis)
    scaled_grad = state("norm of the last u, as limited", level="tensor")

    def extras(self, params: Sequence[Tensor]) -> Mapping[str, Sequence[Tensor]]:
        """Draw the projections that are due."""
        self.begin()
        stepping = {p for p in params if p.numel()}
        pairs = [(p, group) for group in self.param_groups for p in group["params"]]
        for number, (p, group) in enumerate(pairs, start=1):
            past = int(self.state[p]["step"]) if p in stepping else 1
            if group["proj"] == "random" and p in stepping and past % group["update_proj_gap"] == 0:
                for P in tensors_of(self.state[p], "projection"):
                    P.copy_(_drawn(number, past // group["update_proj_gap"], P, _side(p.shape, group["proj_type"])))
        return {}

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        projection: Value | None,
        scaled_grad: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        weight_decay: Value,
        correct_bias: bool,
        scale_front: bool,
        disable_nl: bool,
        rank: Value | None,
        update_proj_gap: Value,
        scale: Value,
        proj: str,
        proj_type: str,
        scale_type: str,
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        (beta1, beta2), Z = betas, scaled_grad
        if projection is None:
            m, v = lerp(g, exp_avg, beta1), lerp(square(g), exp_avg_sq, beta2)
            u = m / (sqrt(v) + eps)
        else:
            if proj == "svd" and (step - 1) % update_proj_gap == 0:
                projection = _singular(g, rank=rank, proj_type=proj_type)
            how = {"betas": betas, "eps": eps, "proj_type": proj_type, "by_channel": scale_type == "channel"}
            u, m, v = _scaled(g, exp_avg, exp_avg_sq, projection, **how)
            u = sqrt(scale) * u if scale_front else u
            if not disable_nl:
                limit = maximum(norm(u) / (Z + 1e-8), 1.01) / 1.01 if step > 1 else 1
                u, Z = u / limit, norm(u) / limit
            u = u if scale_front else sqrt(scale) * u
        size = lr * sqrt(1 - beta2**step) / (1 - beta1**step) if correct_bias else lr
        p = p - size * u
        return p - lr * weight_decay * p, m, v, projection, Z


@stacked("own")
def _singular(g: Tensor, *, rank: int, proj_type: str) -> list[Tensor]:
    """The leading singular vectors of g; NaN where something is not finite."""
    try:
        U, _, Vh = torch.linalg.svd(g, full_matrices=False)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # exported, but not to type checkers
        U, Vh = g.new_full((*g.shape[:2], min(g.shape[1:])), torch.nan), g.mT.new_full(g.mT.shape, torch.nan).mT
        Vh = Vh[:, : min(g.shape[1:])]
    basis = Vh.mT if _side(g.shape[1:], proj_type) else U
    return [basis[:, :, :rank]]


@stacked("element", "m", "v")
def _scaled(
    g: Tensor,
    m: Tensor,
    v: Tensor,
    projection: list[Tensor],
    *,
    betas: tuple[float, float],
    eps: float,
    proj_type: str,
    by_channel: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient with its channels scaled, and the averages."""
    side, (P,), (beta1, beta2) = _side(g.shape[1:], proj_type), projection, betas
    h = g @ P if side else P.mT @ g
    m, v = beta1 * m + (1 - beta1) * h, beta2 * v + (1 - beta2) * h.square()
    over = side + 1 if by_channel else (1, 2)
    sizes: list[Tensor] = [torch.linalg.vector_norm(x, dim=over, keepdim=True) for x in (m / (v.sqrt() + eps), h)]
    return g * (sizes[0] / (sizes[1] + 1e-8)), m, v


def _drawn(number: int, times: int, like: Tensor, side: int) -> Tensor:
    """A projection, that of a parameter after some earlier ones."""
    seed, cpu = number, torch.device("cpu")
    for _ in range(times):
        generator = torch.Generator(cpu).manual_seed(seed)
        seed = int(torch.randint(0, 2**63 - 1, (15,), generator=generator, device=cpu)[-1])
    d, r = like.shape
    shape = (r, d) if side else (d, r)
    drawn: Tensor = torch.randn(
        shape, generator=torch.Generator(cpu).manual_seed(seed), device=cpu, dtype=torch.float32
    )
    root: float = r**0.5
    return (drawn.mT if side else drawn) / root
