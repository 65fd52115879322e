"""FlashAdamW."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from optim_core import RuleOptimizer, hyper, state
from optim_core.methods import State
from optim_core.rules import Value, lerp, root, second_moment, square
from optim_core_adaptive.companding import (
    codes_shape,
    momentum,
    momentum_codes,
    scales_shape,
    variance,
    variance_codes,
)


def _floats(doc: str) -> State:
    return state(doc, when=lambda group: not group["quantize"])


def _in_groups(shape_of: Callable[[Any], tuple[int, ...]]) -> Callable[[Any, Any], tuple[int, ...] | None]:
    return lambda shape, group: shape_of(shape) if group["quantize"] else None


class FlashAdamW(RuleOptimizer):
    """AdamW with its moments in eight bits an element: 2.1 bytes of state instead of 8.

    As AdamW, but that m and v are stored between steps as codes, and a scale in float16 for each 32 elements in a row::

        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2
        p = p (1 - lr weight_decay) - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)

        m:  s = max |m|,      code round(127 y),       y = 2 x / (1 + |x|),  x = m / s
        v:  s = max sqrt(v),  code round(255 r / s),   r = sqrt(v)

    The step takes m and v before they are rounded. ``quantize=False`` stores them as AdamW does. With ``decouple_lr``
    the decay is weight_decay lr / max_lr, so that it follows a schedule but not the choice of lr; take weight_decay
    smaller by the factor lr, 1e-5 where AdamW has 1e-2 at lr 1e-3. max_lr is the lr that the group was built with;
    give the peak where a warm-up begins at 0.

    Float16 bounds what scales can hold: gradients below 1e-6 lose precision, below 1e-8 they are lost (above 65504
    they are held there). A v below 4e-6 of the largest of its 32 is stored as 0: the next one is that of the next
    gradient alone, and where that is small, the step is many times lr. v falls more slowly than AdamW's where it falls
    in small steps. Whole tensors of real numbers only, not sharded ones, with ``quantize``.

    The authors keep 8 or 16 more bits of bfloat16 weights (master_weight_bits): here ``rounding="kahan"`` keeps 16 of
    what is cut off. Their check_numerics, compress_state_dict and fused have no counterpart: checkpoints hold codes.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = FlashAdamW([w], lr=0.1, weight_decay=0.5)
        >>> loss = optimizer.minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()], optimizer.state[w]["exp_avg_codes"].flatten().tolist()
        ([0.85, -1.8], [85, -127])

    Source: FlashOptim: Optimizers for Memory-Efficient Training, 2026, https://arxiv.org/abs/2602.23349.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of its square", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root", ge=0)
    weight_decay: float = hyper(1e-2, "decoupled decay, times lr, or lr / max_lr with decouple_lr", ge=0)
    decouple_lr: bool = hyper(False, "the decay does not depend on the lr that a schedule starts from")
    max_lr: float | None = hyper(None, "the largest lr of the schedule; None: the group's at first", gt=0)
    quantize: bool = hyper(True, "store the averages in eight bits an element")

    exp_avg = _floats("average of g")
    exp_avg_codes = state("codes of the average of g", shape=_in_groups(codes_shape), stored="int8")
    exp_avg_scales = state("their scales", shape=_in_groups(scales_shape), stored="float16")
    exp_avg_sq = _floats("average of g squared")
    exp_avg_sq_codes = state("codes of the average of g squared", shape=_in_groups(codes_shape), stored="uint8")
    exp_avg_sq_scales = state("their scales", shape=_in_groups(scales_shape), stored="float16")

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """The largest lr of a group that does not give it."""
        unsettled = options["max_lr"] is None or ("lr" in given and "max_lr" not in given)
        return options | ({"max_lr": float(options["lr"]) or 1.0} if unsettled else {})

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
        weight_decay: Value,
        decouple_lr: bool,
        max_lr: Value,
        quantize: bool,
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        beta1, beta2 = betas
        if quantize:
            m, v = momentum(exp_avg_codes, exp_avg_scales, g), variance(exp_avg_sq_codes, exp_avg_sq_scales, g)
        else:
            m, v = exp_avg, exp_avg_sq
        m, v = lerp(g, m, beta1), lerp(square(g), v, beta2)
        c2 = 1 - beta2**step
        p = p * (1 - weight_decay * (lr / max_lr if decouple_lr else lr))
        # with codes there are no sums over parameters, which those who ask for a second moment take
        p = p - lr / (1 - beta1**step) * m / root(v if quantize else second_moment(v, c2), eps, c2)
        if quantize:
            return p, None, *momentum_codes(m), None, *variance_codes(v)
        return p, m, None, None, v, None, None
