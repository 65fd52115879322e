"""Kourkoutas-beta."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optim_core import RuleOptimizer, extra, hyper, state
from optim_core.rules import (
    Value,
    amax,
    clamp,
    denominator,
    lerp,
    maximum,
    mean,
    norm,
    second_moment,
    sqrt,
    square,
    total,
)


def _keeps_largest(group: Any) -> bool:
    return group["decay"] is not None or group["max_ratio"] is not None


class KourkoutasBeta(RuleOptimizer):
    """Adam whose second moment forgets faster while the gradient of a layer is larger than it has been.

    With G the norm of the layer's gradient::

        E = alpha E + (1 - alpha) G
        R = G / (E + tiny_spike);  s = R / (1 + R)
        beta2 = beta2_max - (beta2_max - beta2_min) s          the middle of both in the first warmup_steps
        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2;  with decay  V = max(decay V, v), otherwise V = v
        u = lr (m / c1) / (sqrt(V / c2) + T + eps)             T = tiny_denom max(mean |p|, 1) with adaptive_tiny, or 0
        p = p - u                                              max_ratio: u between -lr max_ratio and lr max_ratio

    In calm times R is about 1, so beta2 lies in the middle of its range, 0.95, and not near beta2_max. bias_correction
    is "none" (c1 = c2 = 1), "beta2max" (c1 = 1 - beta1^t, c2 = 1 - beta2_max^t) or "exact" (c2 = 1 - the product of all
    beta2 so far). max_ratio alone keeps the largest v, too, without decay.

    A layer is each tensor (per="tensor"), the whole model ("all"), or all tensors of one shape ("shape", the author's
    recipe, whose norms are those of the gradients before any transform). There is no decay of weights.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = KourkoutasBeta([w], lr=0.1, bias_correction="exact").minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.9]

    Source: Kassinos, Kourkoutas-Beta: A Sunspike-Driven Adam Optimizer with Desert Flair, 2025,
    https://arxiv.org/abs/2508.12996; options as in the author's code.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    beta1: float = hyper(0.9, "decay of the average of g", ge=0, lt=1)
    beta2_max: float = hyper(0.999, "decay of the average of g squared in calm", ge=0, lt=1)
    beta2_min: float = hyper(0.9, "the same in a storm", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root", ge=0)
    alpha: float = hyper(0.9, "decay of the average norm", ge=0, lt=1)
    tiny_spike: float = hyper(1e-8, "added to it", gt=0)
    tiny_denom: float = hyper(1e-8, "added to the denominator, times mean |p|, with adaptive_tiny", ge=0)
    decay: float | None = hyper(None, "share of the largest v that stays; None for v itself", gt=0, le=1)
    max_ratio: float | None = hyper(None, "largest element of a step, times lr; None for any", gt=0)
    adaptive_tiny: bool = hyper(False, "add to the denominator by the size of p")
    bias_correction: str = hyper("none", "how averages are corrected", choices=("none", "beta2max", "exact"))
    warmup_steps: int = hyper(0, "steps with beta2 in the middle", ge=0)
    per: str = hyper("tensor", "what shares a beta2", choices=("tensor", "shape", "all"), common=True)

    shared_norm = extra("G of all tensors of the shape", when=lambda group: group["per"] == "shape")
    exp_avg = state("average of g")
    exp_avg_sq = state("average of g squared")
    max_exp_avg_sq = state("largest exp_avg_sq of late", when=_keeps_largest)
    grad_ema = state("E, average norm", level="tensor")
    beta2_cumprod = state("product of all beta2", start=1.0, level="tensor")

    def extras(self, params: Sequence[Tensor]) -> Mapping[str, Sequence[Tensor]]:
        """The norms that tensors of one shape share."""
        if self.param_groups[0]["per"] != "shape":
            return {}
        alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for p in params:
            if p.grad is not None:
                alike[p.shape].append(_numbers(p.grad.detach()))
        norms = {shape: _norm(gradients) for shape, gradients in alike.items()}
        return {"shared_norm": [norms[p.shape].to(p.device).expand(_numbers(p).shape) for p in params]}

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        max_exp_avg_sq: Value | None,
        grad_ema: Value,
        beta2_cumprod: Value,
        shared_norm: Value | None,
        *,
        lr: Value,
        beta1: Value,
        beta2_max: Value,
        beta2_min: Value,
        eps: Value,
        alpha: Value,
        tiny_spike: Value,
        tiny_denom: Value,
        decay: Value | None,
        max_ratio: Value | None,
        adaptive_tiny: bool,
        bias_correction: str,
        warmup_steps: Value,
        per: str,
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        G = _own_norm(g, per) if shared_norm is None else amax(shared_norm)
        grad_ema = lerp(G, grad_ema, alpha)
        R = G / (grad_ema + tiny_spike)
        share = 0.5 if step <= warmup_steps else R / (1 + R)
        beta2 = beta2_max - (beta2_max - beta2_min) * share
        beta2_cumprod = beta2_cumprod * beta2
        exp_avg = lerp(g, exp_avg, beta1)
        v = exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
        if max_exp_avg_sq is not None:
            v = max_exp_avg_sq = maximum(max_exp_avg_sq if decay is None else decay * max_exp_avg_sq, v)
        c1: Any = 1.0 if bias_correction == "none" else 1 - beta1**step
        c2: Any = {"none": 1.0, "beta2max": 1 - beta2_max**step, "exact": 1 - beta2_cumprod}[bias_correction]
        v = second_moment(v, c2)
        tiny = tiny_denom * maximum(mean(abs(p)), 1.0) if adaptive_tiny else 0.0
        u = lr / c1 * exp_avg / denominator(sqrt(v) / sqrt(c2) + (tiny + eps), bare=sqrt(v), correction=c2)
        if max_ratio is not None:
            u = clamp(u, -lr * max_ratio, lr * max_ratio)
        return p - u, exp_avg, exp_avg_sq, max_exp_avg_sq, grad_ema, beta2_cumprod


def _own_norm(g: Value, per: str) -> Value:
    return norm(g) if per == "tensor" else sqrt(total(square(g)))


def _norm(gradients: Sequence[Tensor]) -> Tensor:
    """The norm of all of them together."""
    norms = [g.norm(dtype=torch.promote_types(g.dtype, torch.float32)) for g in gradients]
    joined: Tensor = torch.stack([x.to(norms[0].device) for x in norms]).norm()
    return joined


def _numbers(x: Tensor) -> Tensor:
    """Its real numbers."""
    return torch.view_as_real(x) if x.is_complex() else x
