"""AdaHessian."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from optim_core import decoupled, hyper, state
from optim_core.errors import InvalidOption
from optim_core.optimizers import HessianDiagonal
from optim_core.rules import Value, denominator, lerp, sqrt, square, where

Blocks = tuple[int, int, int, int]


class AdaHessian(HessianDiagonal):
    """Adam with the Hessian's diagonal, sampled and smoothed over neighbours, in the place of g in v.

    With d the size of Hutchinson's estimate, averaged over neighbouring weights, and k the hessian_power::

        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) d^2
        p = p (1 - lr weight_decay) - lr m / (1 - beta1^t) / ((sqrt(v) / sqrt(1 - beta2^t))^k + eps)

    Neighbours are, unless told otherwise, the last two axes of a 4-dimensional weight, and nothing else (the authors'
    code for images; it raises for 3 dimensions, which are left alone here). ``spatial_average_block_size`` holds a
    number for weights of 1, 2, 3 and 4 dimensions, as their tutorial does: n for runs of n weights in memory, -1 for
    the last axis of 2 and 3 dimensions, the last two of 4 and nothing of 1. With an ``update_period`` v, and the t
    under it, count estimates instead of steps, and a parameter waits for its first one. Weights without curvature move
    by lr m / eps: a network of ReLUs may have some.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = AdaHessian([w], lr=0.5, eps=0.0).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]  # half of the way to the minimum
        [0.5, -1.0]

    Source: Yao et al., ADAHESSIAN: An Adaptive Second Order Optimizer for Machine Learning, 2020, Algorithm 1,
    https://arxiv.org/abs/2006.00719.
    """

    lr: float = hyper(0.15, "step size", ge=0, search=(1e-3, 1.0))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of d squared", ge=0, lt=1)
    eps: float = hyper(1e-4, "added to the denominator", ge=0)
    weight_decay: float = decoupled(0.0)
    hessian_power: float = hyper(1.0, "power of the curvature in the denominator", ge=0, le=1)
    spatial_average_block_size: Blocks | None = hyper(None, "what is averaged, by the number of dimensions")
    update_period: int = hyper(1, "steps from one estimate to the next", ge=1, common=True)
    num_samples: int = hyper(1, "draws averaged in an estimate, before its size is taken", ge=1, common=True)
    hessian_distribution: str = hyper(
        "rademacher",
        "what is drawn; 'rademacher' varies less",
        choices=("gaussian", "rademacher"),
        common=True,
    )

    exp_avg = state("average of g")
    exp_hessian_diag_sq = state("average of d squared")
    estimates = state("estimates so far", level="tensor", when=lambda group: group["update_period"] > 1)

    def on_group(self, group: dict[str, Any]) -> None:
        """Refuse blocks that do not fit."""
        for p in group["params"]:
            size = _block_size(p, group["spatial_average_block_size"])
            if size is not None and (size < -1 or size == 0 or (size > 0 and p.numel() % size)):
                raise InvalidOption(
                    f"AdaHessian: spatial_average_block_size={group['spatial_average_block_size']} has {size} for "
                    f"{p.ndim} dimensions, but a parameter of shape {tuple(p.shape)} cannot be cut into such runs: "
                    "take a divisor of its size, or -1"
                )

    def extras(self, params: Sequence[Tensor]) -> Mapping[str, Sequence[Tensor]]:
        """The size of the estimate, smoothed."""
        blocks = {p: group["spatial_average_block_size"] for group in self.param_groups for p in group["params"]}
        estimated = super().extras(params)
        return {
            name: [_smoothed(x.abs(), p, blocks[p]) for p, x in zip(params, tensors, strict=True)]
            for name, tensors in estimated.items()
        }

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        hessian_diag: Value | None,
        exp_avg: Value,
        exp_hessian_diag_sq: Value,
        estimates: Value | None,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        hessian_power: Value,
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        beta1, beta2 = betas
        exp_avg = lerp(g, exp_avg, beta1)
        if hessian_diag is not None:
            exp_hessian_diag_sq = lerp(square(hessian_diag), exp_hessian_diag_sq, beta2)
            estimates = None if estimates is None else estimates + 1
        count = step if estimates is None else estimates
        curvature = sqrt(exp_hessian_diag_sq) / sqrt(1 - beta2**count)
        if hessian_power != 1:
            curvature = curvature**hessian_power
        new_p = p - lr / (1 - beta1**step) * exp_avg / denominator(curvature + eps, bare=curvature)
        if estimates is not None:  # there may be none yet
            new_p = where(estimates > 0, new_p, p)
        return new_p, exp_avg, exp_hessian_diag_sq, estimates


def _block_size(p: Tensor, blocks: Blocks | None) -> int | None:
    """The number that applies to a parameter; None for one that is left alone."""
    if blocks is None:
        return -1 if p.ndim == 4 else None
    return blocks[p.ndim - 1] if 1 <= p.ndim <= 4 else None


def _smoothed(d: Tensor, p: Tensor, blocks: Blocks | None) -> Tensor:
    """Averages over neighbours, at each of them; d may have pairs of numbers for a complex p."""
    size = _block_size(p, blocks)
    if size is None or (size == -1 and p.ndim == 1) or not p.numel():
        return d
    if size > 0:
        runs = d.reshape(p.numel() // size, size, -1)
        return runs.mean(1, keepdim=True).expand_as(runs).reshape(d.shape)
    return d.mean((2, 3) if p.ndim == 4 else p.ndim - 1, keepdim=True).expand_as(d).contiguous()
