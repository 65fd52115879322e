"""LowBitAdamW."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core.methods import State
from optim_core.rules import Value, lerp, root, square
from optim_core_adaptive.blockwise import coded, codes_shape, decoded, scales_shape

Shape = tuple[int, ...]
Group = Mapping[str, Any]


def _is_small(shape: Shape, group: Group) -> bool:
    return math.prod(shape) < int(group["min_size"])


def _block_size(group: Group) -> int:
    return int(group["block_size_4bit" if group["bits"] == "4" else "block_size"])


def _codes(shape: Shape, group: Group) -> Shape | None:
    return None if _is_small(shape, group) else codes_shape(shape, group["bits"])


def _scales(shape: Shape, group: Group) -> Shape | None:
    return None if _is_small(shape, group) else scales_shape(shape, _block_size(group))


def _floats(doc: str) -> State:
    return state(doc, shape=lambda shape, group: shape if _is_small(shape, group) else None)


class LowBitAdamW(RuleOptimizer):
    """AdamW whose moments are stored in eight or four bits an element: 2 bytes of state, or 1, instead of 8.

    The step is AdamW's, with m and v as they are before they are stored::

        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2
        p = p (1 - lr weight_decay) - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)

    Each ``block_size`` elements in a row share a scale, their largest magnitude, and an element is stored as the number
    of the nearest entry of a codebook times the scale. ``bits="8"``: entries lie in seven decades below 1, more of them
    in the upper ones, positive ones alone for v. ``"4"``: 16 entries in three decades for m, equal steps from 1/16 to 1
    for v, and blocks of ``block_size_4bit``. ``"fp8"``: the numbers of float8_e4m3fn. The error is at most 0.7 % of
    the scale for m and 0.35 % for v with 8 bits, 11 % and 6 % with 4.

    Parameters of fewer than ``min_size`` elements keep their moments as they are; a group with a large min_size leaves
    its parameters out, which is advised for embeddings. Take AdamW's options. One infinite or undefined
    gradient spoils its block. Whole tensors of real numbers only, not sharded ones. For weights in bfloat16 there is
    ``rounding``.

    Rounding is to the nearest. So v falls more slowly than AdamW's where it falls in small steps; and a v below 2e-7 of
    the largest of its block is stored as 0, so that the next v is that of the next gradient alone, and where that is
    small, the step is many times lr. One gradient in 256 that is 1e4 times as large as the others is enough.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.ones(64, 64))
        >>> optimizer = LowBitAdamW([w], lr=0.1, weight_decay=0.0)
        >>> loss = optimizer.minimize(lambda: w.square().sum())
        >>> round(w[0, 0].item(), 3), optimizer.state[w]["exp_avg_codes"].dtype, optimizer.state_bytes()
        (0.9, torch.uint8, 8320)

    Source: Dettmers et al., 8-bit Optimizers via Block-wise Quantization, 2021, Section 2,
    https://arxiv.org/abs/2110.02861; four bits and fp8 as in torchao.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of its square", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root", ge=0)
    weight_decay: float = decoupled(1e-2)
    bits: str = hyper("8", "what an element is stored in", choices=("8", "4", "fp8"))
    block_size: int = hyper(256, "elements that share a scale", ge=1)
    block_size_4bit: int = hyper(128, "the same with bits='4'", ge=1)
    min_size: int = hyper(4096, "elements from which on moments are stored in few bits", ge=0, examples=(0,))

    exp_avg = _floats("average of g, of small parameters")
    exp_avg_codes = state("codes of the average of g", shape=_codes, stored="uint8")
    exp_avg_scales = state("their scales", shape=_scales, stored="float32")
    exp_avg_sq = _floats("average of g squared, of small parameters")
    exp_avg_sq_codes = state("codes of the average of g squared", shape=_codes, stored="uint8")
    exp_avg_sq_scales = state("their scales", shape=_scales, stored="float32")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value | None,
        exp_avg_codes: Value | None,
        exp_avg_scales: Value | None,
        exp_avg_sq: Value | None,
        exp_avg_sq_codes: Value | None,
        exp_avg_sq_scales: Value | None,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        bits: str,
        block_size: Value,
        block_size_4bit: Value,
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        beta1, beta2 = betas
        how: dict[str, Any] = {"bits": bits, "block_size": block_size_4bit if bits == "4" else block_size}
        m: Any = exp_avg
        v: Any = exp_avg_sq
        if exp_avg_codes is not None:
            m = decoded(exp_avg_codes, exp_avg_scales, g, signed=True, **how)
            v = decoded(exp_avg_sq_codes, exp_avg_sq_scales, g, signed=False, **how)
        m, v = lerp(g, m, beta1), lerp(square(g), v, beta2)
        c2 = 1 - beta2**step
        p = p - lr / (1 - beta1**step) * m / root(v, eps, c2)
        if exp_avg_codes is None:
            return p, m, None, None, v, None, None
        return p, None, *coded(m, signed=True, **how), None, *coded(v, signed=False, **how)
