"""The operations of update rules: their names, kinds, and what each means for Python floats.

Engines have a table of their own with the same keys. Host numbers (lr, bias corrections) are computed with this one, so
it follows IEEE arithmetic, as tensors do: where Python raises (1 / 0, the root of -1), it returns inf or nan.
"""

from __future__ import annotations

import math
import operator
import struct
from collections.abc import Callable, Mapping

#: Elementwise operations whose result is a condition, true or false.
COMPARISONS = frozenset({"lt", "le", "gt", "ge", "eq", "ne"})
LOGICAL = frozenset({"and", "or", "not"})
MASKS = COMPARISONS | LOGICAL
#: Reductions read values of a finer level; "dot" takes two, the others one.
REDUCTIONS = frozenset({"sum", "mean", "norm", "amax", "dot", "size"})
#: Operations that Python, C and Triton write alike.
SIGNS: Mapping[str, str] = {
    "add": "{} + {}",
    "sub": "{} - {}",
    "mul": "{} * {}",
    "square": "{0} * {0}",
    "lt": "{} < {}",
    "le": "{} <= {}",
    "gt": "{} > {}",
    "ge": "{} >= {}",
    "eq": "{} == {}",
    "ne": "{} != {}",
}


def _divide(a: float, b: float) -> float:
    if b != 0:
        return a / b
    return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1.0, b)


def _or_nan(function: Callable[[float], float]) -> Callable[[float], float]:
    """``function`` with nan or inf, as in IEEE arithmetic, where Python raises."""

    def safe(x: float) -> float:
        try:
            return function(x)
        except (ValueError, OverflowError):
            return math.inf if function is math.exp else -math.inf if function is math.log and x == 0 else math.nan

    return safe


def _power(base: float, exponent: float) -> float:
    try:
        return math.pow(base, exponent)
    except OverflowError:
        large = math.inf
    except ValueError:
        large = math.inf if base == 0 else math.nan
    return math.copysign(large, base) if exponent % 2 == 1 else large


def _either_nan(function: Callable[[float, float], float]) -> Callable[[float, float], float]:
    return lambda a, b: math.nan if math.isnan(a) or math.isnan(b) else function(a, b)


def _lerp(start: float, end: float, weight: float) -> float:
    return start + weight * (end - start) if abs(weight) < 0.5 else end - (end - start) * (1 - weight)


_exp = _or_nan(math.exp)


def _bfloat16(x: float) -> float:
    return _stochastic_bfloat16(x, 0.5) if math.isfinite(x) else x


def _stochastic_bfloat16(x: float, draw: float) -> float:
    if not math.isfinite(x):
        return x
    (bits,) = struct.unpack("<I", struct.pack("<f", x))
    above = (bits + int(draw * 0x10000)) & 0xFFFF0000
    return float(struct.unpack("<f", struct.pack("<I", above))[0])


def uniform(place: int, seed: int, salt: int) -> float:
    """A random number in [0, 1), a multiple of 2^-16: a hash, the same in every engine.

    Args:
        place: position of the element in its parameter.
        seed: drawn anew in each step.
        salt: differs from parameter to parameter.
    """
    x = (place * 0x9E3779B9 + salt * 0x85EBCA6B + seed * 0xC2B2AE35) & 0xFFFFFFFF
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
    x = ((x ^ (x >> 15)) * 0x846CA68B) & 0xFFFFFFFF
    return ((x ^ (x >> 16)) >> 16) / 0x10000


#: Every elementwise operation, with its meaning for Python floats.
HOST_OPERATIONS: dict[str, Callable[..., float]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": _divide,
    "pow": _power,
    "neg": operator.neg,
    "abs": abs,
    "square": lambda x: x * x,
    "sign": lambda x: float((x > 0) - (x < 0)),
    "sqrt": _or_nan(math.sqrt),
    "exp": _exp,
    "log": _or_nan(math.log),
    "cos": _or_nan(math.cos),
    "tanh": math.tanh,
    "sigmoid": lambda x: 1.0 / (1.0 + _exp(-x)),
    "minimum": _either_nan(min),
    "maximum": _either_nan(max),
    "atan2": math.atan2,
    "lerp": _lerp,
    "average_of_squares": lambda x, average, weight: weight * average + (1 - weight) * x * x,
    "where": lambda condition, a, b: a if condition else b,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "ne": operator.ne,
    "and": lambda a, b: bool(a) and bool(b),
    "or": lambda a, b: bool(a) or bool(b),
    "not": operator.not_,
    "mod": lambda a, b: a % b if b else math.nan,
    "bfloat16": _bfloat16,
    "stochastic_bfloat16": _stochastic_bfloat16,
    "uniform": lambda _, seed, salt: uniform(0, int(seed), int(salt)),
}
