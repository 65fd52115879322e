"""Rounding of the new values of bfloat16 parameters: to the nearest, at random, or with the rest kept apart (Kahan).

bfloat16 has 8 bits of mantissa. A step smaller than about 1/512 of a weight is lost when rounded to the nearest, every
time. Stochastic rounding keeps it on average, compensated summation keeps it in a second bfloat16 tensor.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from optim_core.rules.trace import Trace
from optim_core.rules.values import Level, Value

Rounding: TypeAlias = Literal["nearest", "stochastic", "kahan"]


def load(trace: Trace, p: Value, rounding: Rounding) -> Value:
    """The parameter together with what rounding has cut off in earlier steps."""
    return p + trace.input("compensation", Level.ELEMENT) if rounding == "kahan" else p


def store(trace: Trace, new_p: Value, rounding: Rounding) -> dict[str, Value]:
    """The new values of the buffers ``p`` and, with Kahan summation, ``compensation``."""
    if rounding == "kahan":
        stored = trace.apply("bfloat16", new_p)
        return {"p": stored, "compensation": new_p - stored}
    if rounding == "stochastic":
        # a number per element: of the element's place, the parameter's salt and the step's seed
        p, salt = trace.input("p", Level.ELEMENT), trace.input("salt", Level.TENSOR)
        draw = trace.apply("uniform", p, trace.input("rounding_seed", Level.HOST), salt)
        return {"p": trace.apply("stochastic_bfloat16", new_p, draw)}
    return {"p": new_p}
