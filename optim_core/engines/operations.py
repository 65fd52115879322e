"""Graph operations as torch operations, on one tensor and on a list of tensors.

Operands are tensors of one dtype (lists of them for :func:`on_list`), 0-d tensors, or host numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from optim_core.engines.sharded import full_tensor, gathered, is_sharded, placed_like
from optim_core.engines.tensors import total_dtype
from optim_core.rules.arithmetic import REDUCTIONS
from optim_core.rules.values import Level, Value

_TORCH: dict[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "pow": torch.pow,
    "neg": torch.neg,
    "abs": torch.abs,
    "square": torch.square,
    "sign": torch.sign,
    "sqrt": torch.sqrt,
    "exp": torch.exp,
    "log": torch.log,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "minimum": torch.minimum,
    "maximum": torch.maximum,
    "lerp": torch.lerp,
    "where": torch.where,
    "lt": torch.lt,
    "le": torch.le,
    "gt": torch.gt,
    "ge": torch.ge,
    "eq": torch.eq,
    "ne": torch.ne,
    "and": torch.logical_and,
    "or": torch.logical_or,
    "not": torch.logical_not,
}


def _stochastic_bfloat16(x: Tensor, draw: Tensor) -> Tensor:
    single = x.to(torch.float32)
    bits = single.view(torch.int32) + (draw * 0x10000).to(torch.int32) & -0x10000
    return torch.where(single.isfinite(), bits.view(torch.float32), single).to(x.dtype)


def _uniform(like: Tensor, seed: Tensor, salt: Tensor) -> Tensor:
    """`optim_core.rules.arithmetic.uniform` for every element."""
    low = 0xFFFFFFFF
    x = torch.arange(like.numel(), device=like.device).reshape(like.shape) * 0x9E3779B9
    x = (x + full_tensor(salt).long() * 0x85EBCA6B + full_tensor(seed).long() * 0xC2B2AE35) & low
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & low
    x = ((x ^ (x >> 15)) * 0x846CA68B) & low
    return placed_like((((x ^ (x >> 16)) >> 16) / 0x10000).to(like.dtype), like)


#: Operations without an `out` argument.
_WITHOUT_OUT: dict[str, Callable[..., Tensor]] = {
    "bfloat16": lambda x: x.to(torch.bfloat16).to(x.dtype),
    "stochastic_bfloat16": _stochastic_bfloat16,
    "uniform": _uniform,
    "copy": torch.clone,
}
#: Operations of torch that take a Python number as their last operand; elsewhere it is made a 0-d tensor.
_LAST_MAY_BE_NUMBER = frozenset({"add", "sub", "mul", "div", "pow", "lerp", "lt", "le", "gt", "ge", "eq", "ne"})

_FOREACH_UNARY = frozenset({"neg", "abs", "sign", "sqrt", "exp", "log", "tanh", "sigmoid"})
_FOREACH_BINARY = frozenset({"add", "sub", "mul", "div", "pow", "minimum", "maximum"})
_COMMUTATIVE = frozenset({"add", "mul", "minimum", "maximum"})
#: With a number instead of a second list, torch has other names for two of them.
_FOREACH_NUMBER = {"minimum": "clamp_max", "maximum": "clamp_min"}


def on_tensor(value: Value, operands: Sequence[Any], over: int | None, dtype: torch.dtype) -> Tensor:
    """Compute ``value`` from its operands, in the memory of operand ``over`` if given."""
    if value.op in REDUCTIONS:
        return gathered(_reduce(value, operands))
    if value.op == "sample":
        return operands[0].reshape(-1)[:: value.every].clone()  # type: ignore[no-any-return]
    if value.op == "average_of_squares":
        return _average_of_squares(*operands, in_place=over == 1)
    out: Tensor | None = None if over is None else operands[over]
    if value.op == "lerp" and isinstance(operands[2], float) and (over == 1 or (over is None and operands[2] >= 0.5)):
        operands, over = _seen_from_end(operands), None if over is None else 0
    device = next(x for x in operands if isinstance(x, Tensor))
    plain = value.op in _LAST_MAY_BE_NUMBER
    end = len(operands) - 1
    args = [x if plain and i == end else _tensor(x, device, dtype) for i, x in enumerate(operands)]
    if value.op in _WITHOUT_OUT:
        return _WITHOUT_OUT[value.op](*args)
    if value.op == "where" and args[0].dtype is not torch.bool:
        args[0] = args[0] != 0
    return _TORCH[value.op](*args) if out is None else _TORCH[value.op](*args, out=out)


def _average_of_squares(x: Any, average: Any, weight: Any, *, in_place: bool) -> Tensor:
    """As torch's own optimizers compute it; see :func:`optim_core.rules.lerp`."""
    if not (isinstance(average, Tensor) and isinstance(x, Tensor) and isinstance(weight, float)):
        return weight * average + (1 - weight) * x * x  # type: ignore[no-any-return]
    kept = average.mul_(weight) if in_place else average * weight
    if kept.ndim < x.ndim or kept.shape != x.shape:
        return torch.addcmul(kept, x, x, value=1 - weight)
    return kept.addcmul_(x, x, value=1 - weight)


def _seen_from_end(operands: Sequence[Any]) -> list[Any]:
    """The same lerp from its end. 1 - weight is in double: in float32 its fifth digit would be wrong for 0.999."""
    start, end, weight = operands
    return [end, start, 1 - weight]


def _tensor(x: Any, like: Tensor, dtype: torch.dtype) -> Tensor:
    return x if isinstance(x, Tensor) else torch.full((), x, dtype=dtype, device=like.device)


def _reduce(value: Value, operands: Sequence[Tensor]) -> Tensor:
    x = operands[0]
    if value.op == "size":
        whole = value.level is Level.TENSOR
        shape = () if whole else (*x.shape[:1], *(1 for _ in x.shape[1:]))
        return x.new_full(shape, x.numel() if whole else math.prod(x.shape[1:]))
    # squares and products of float32 overflow, and vanish, long before their sums' roots do
    wide = x.dtype if is_sharded(x) else total_dtype(x.device)
    if value.op == "dot":
        x = x.to(wide) * operands[1]
    exact = {} if value.op == "amax" else {"dtype": wide}
    if value.level is Level.TENSOR:
        return _REDUCTIONS[value.op](x, **exact).to(operands[0].dtype)
    if x.ndim <= 1:  # every element is a row of its own
        return x.abs() if value.op == "norm" else x.to(operands[0].dtype, copy=True)
    return _REDUCTIONS[value.op](x, dim=tuple(range(1, x.ndim)), keepdim=True, **exact).to(operands[0].dtype)


_REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "sum": torch.sum,
    "dot": torch.sum,  # of the products
    "mean": torch.mean,
    "norm": torch.linalg.vector_norm,
    "amax": torch.amax,
}


def on_list(value: Value, operands: Sequence[Any], over: int | None, dtype: torch.dtype) -> list[Tensor]:
    """The same for lists: one call for all tensors where torch has one."""
    fast = _foreach(value, operands, over)
    if fast is not None:
        return fast
    count = next(len(x) for x in operands if isinstance(x, list))
    columns = [x if isinstance(x, list) else [x] * count for x in operands]
    return [on_tensor(value, row, over, dtype) for row in zip(*columns, strict=True)]


def _foreach(value: Value, operands: Sequence[Any], over: int | None) -> list[Tensor] | None:
    op, xs = value.op, list(operands)
    if op == "square":
        op, xs = "mul", [xs[0], xs[0]]
    if op in ("lerp", "average_of_squares"):
        return _foreach_lerp(xs, over) if op == "lerp" else _foreach_average_of_squares(value, xs, over)
    if op == "norm" and value.level is Level.TENSOR:
        # torch 2.15 takes the dtype for the order of the norm where it looks at shards
        wide: dict[str, Any] = {} if is_sharded(xs[0][0]) else {"dtype": total_dtype(xs[0][0].device)}
        norms = torch._foreach_norm(xs[0], **wide)
        return [gathered(x.to(like.dtype)) for x, like in zip(norms, xs[0], strict=True)]
    if op in _FOREACH_BINARY:
        if op in _COMMUTATIVE and (over == 1 or not isinstance(xs[0], list)):
            xs, over = [xs[1], xs[0]], None if over is None else 1 - over
        if not isinstance(xs[0], list) or isinstance(xs[1], Tensor):
            return None
        if not isinstance(xs[1], list):
            op = _FOREACH_NUMBER.get(op, op)
    elif op not in _FOREACH_UNARY:
        return None
    if over == 0:
        getattr(torch, f"_foreach_{op}_")(*xs)
        return xs[0]  # type: ignore[no-any-return]
    return list(getattr(torch, f"_foreach_{op}")(*xs))


def _foreach_average_of_squares(value: Value, xs: Sequence[Any], over: int | None) -> list[Tensor] | None:
    x, average, weight = xs
    if not (isinstance(x, list) and isinstance(average, list) and isinstance(weight, float)):
        return None
    if value.args[0].level is not value.args[1].level:  # one of them is broadcast
        return None
    if over == 1:
        torch._foreach_mul_(average, weight)
    else:
        average = list(torch._foreach_mul(average, weight))
    torch._foreach_addcmul_(average, x, x, value=1 - weight)
    return average


def _foreach_lerp(xs: Sequence[Any], over: int | None) -> list[Tensor] | None:
    if not (isinstance(xs[0], list) and isinstance(xs[1], list) and isinstance(xs[2], float)):
        return None
    if over == 1 or (over is None and xs[2] >= 0.5):
        xs, over = _seen_from_end(xs), None if over is None else 0
    if over == 0:
        torch._foreach_lerp_(*xs)
        return xs[0]  # type: ignore[no-any-return]
    return list(torch._foreach_lerp(*xs))
