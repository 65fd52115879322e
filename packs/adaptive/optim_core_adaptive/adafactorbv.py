"""AdafactorBV."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, bfloat16, denominator, lerp, maximum, minimum, sqrt, square, stacked
from optim_core_adaptive.factored import rms

Shape = tuple[int, ...]


def _axes(shape: Shape) -> tuple[int, int]:
    """The second largest and the largest dimension; of equal ones the later counts as larger."""
    second, largest = sorted(range(len(shape)), key=lambda i: (shape[i], i))[-2:]
    return second, largest


def _is_factored(shape: Shape, group: Mapping[str, Any]) -> bool:
    return len(shape) > 1 and sorted(shape)[-2] >= group["min_dim_size_to_factor"]


def _without(shape: Shape, group: Mapping[str, Any], *, which: int) -> Shape | None:
    if not _is_factored(shape, group):
        return None
    axis = _axes(shape)[which]
    return tuple(1 if i == axis else n for i, n in enumerate(shape))


class AdafactorBV(RuleOptimizer):
    """AdaFactor as big_vision trains with it: no scaling by the parameter, and momentum of few bits.

    b = min(beta2_cap, 1 - max(t - decay_offset, 1)^-decay_rate). Where the second largest dimension is at least
    min_dim_size_to_factor::

        R = b R + (1 - b) mean(g^2 + eps, largest dimension)
        C = b C + (1 - b) mean(g^2 + eps, second largest dimension)
        u = g / sqrt(R C / mean(R, second largest dimension))

    and elsewhere v = b v + (1 - b)(g^2 + eps), u = g / sqrt(v). Then, for all::

        u = u / max(1, RMS(u) / clipping_threshold)
        m = momentum m + (1 - momentum) u, rounded to momentum_dtype
        p = p (1 - lr weight_decay) - lr m                                 unscaled_wd: p (1 - weight_decay)

    Other dimensions, such as a kernel's, have statistics of their own. b is 0 in the first step; m is not corrected.
    big_vision clips the norm of all gradients to 1 besides (``get_wrapper("clip")``), and its decay follows the
    schedule, but not lr. m is rounded here, and kept in the type of arithmetic: no memory is saved by it.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = AdafactorBV([w], lr=0.1, momentum=None).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.9]

    Source: Zhai et al., Scaling Vision Transformers, 2021, section 3.4, https://arxiv.org/abs/2106.04560; the order of
    dimensions as in timm.
    """

    lr: float = hyper(1.0, "step size; 1e-3, say", ge=0, search=(1e-4, 1e-1))
    min_dim_size_to_factor: int = hyper(16, "least second largest dimension of what is factored", ge=1)
    decay_rate: float = hyper(0.8, "exponent of the step count in b", ge=0)
    decay_offset: int = hyper(0, "steps before that count begins", ge=0)
    beta2_cap: float = hyper(0.999, "largest b", ge=0, lt=1)
    momentum: float | None = hyper(0.9, "decay of the average of updates, None for no average", ge=0, lt=1)
    momentum_dtype: str = hyper(
        "bfloat16", "what the average is rounded to", choices=("bfloat16", "float32", "float64")
    )
    eps: float = hyper(1e-30, "added to g squared", ge=0)
    weight_decay: float = hyper(0.0, "decoupled decay, times lr", ge=0)
    clipping_threshold: float | None = hyper(None, "largest RMS of an update before momentum, None for any", gt=0)
    unscaled_wd: bool = hyper(False, "decay by weight_decay alone, without lr")

    exp_avg_sq_r = state("R", shape=lambda shape, group: _without(shape, group, which=1))
    exp_avg_sq_c = state("C", shape=lambda shape, group: _without(shape, group, which=0))
    exp_avg_sq = state("v", shape=lambda shape, group: None if _is_factored(shape, group) else shape)
    exp_avg = state("average of updates", when=lambda group: group["momentum"] is not None)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg_sq_r: Value | None,
        exp_avg_sq_c: Value | None,
        exp_avg_sq: Value | None,
        exp_avg: Value | None,
        *,
        lr: Value,
        decay_rate: Value,
        decay_offset: Value,
        beta2_cap: Value,
        momentum: Value | None,
        momentum_dtype: str,
        eps: Value,
        weight_decay: Value,
        clipping_threshold: Value | None,
        unscaled_wd: bool,
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        b = minimum(beta2_cap, 1 - maximum(step - decay_offset, 1) ** -decay_rate)
        R, C, v = exp_avg_sq_r, exp_avg_sq_c, exp_avg_sq
        if v is not None:
            v = lerp(square(g) + eps, v, b)
            u = g / denominator(sqrt(v))
        else:
            R, C = _averaged(R, C, square(g) + eps, b=b)
            u = g * _inverse_root(R, C)
        if clipping_threshold is not None:
            u = u / maximum(1.0, rms(u) / clipping_threshold)
        if momentum is not None and exp_avg is not None:
            u = lerp(u, exp_avg, momentum)
            u = exp_avg = bfloat16(u) if momentum_dtype == "bfloat16" else u
        return p * (1 - weight_decay * (1.0 if unscaled_wd else lr)) - lr * u, R, C, v, exp_avg


@stacked("own", "own")
def _averaged(R: Tensor, C: Tensor, q: Tensor, *, b: float) -> tuple[Tensor, Tensor]:
    """R and C with the means of q."""
    second, largest = _axes(tuple(q.shape[1:]))
    means = (q.mean(dim=1 + axis, keepdim=True) for axis in (largest, second))
    R, C = (torch.lerp(x, old, b) for x, old in zip(means, (R, C), strict=True))
    return R, C


@stacked("element")
def _inverse_root(R: Tensor, C: Tensor) -> Tensor:
    """1 / sqrt(R C / mean(R)), the mean over C's dimension; R and C have 1 where they are means."""
    second, _ = _axes(tuple(map(max, R.shape[1:], C.shape[1:])))
    return (R / R.mean(dim=1 + second, keepdim=True)).rsqrt() * C.rsqrt()
