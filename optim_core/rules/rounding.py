"""How a bfloat16 parameter takes its new value: to the nearest, at random, or with what is cut off kept (Kahan).

bfloat16 has 8 bits of mantissa. A step smaller than about 1/512 of a weight is lost when rounded to the nearest, every
time. Stochastic rounding keeps it on average, compensated summation keeps it in a second bfloat16 tensor.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from optim_core.rules.trace import Trace
from optim_core.rules.values import Level, Value

Rounding: TypeAlias = Literal["nearest", "stochastic", "kahan"]


def whole_parameter(trace: Trace, p: Value, rounding: Rounding) -> Value:
    """The parameter with what earlier steps have cut off."""
    return p + trace.input("compensation", Level.ELEMENT) if rounding == "kahan" else p


def rounded(trace: Trace, new_p: Value, rounding: Rounding) -> dict[str, Value]:
    """What is to be stored, by name of the buffer: the parameter, and what is cut off."""
    if rounding == "kahan":
        stored = trace.apply("bfloat16", new_p)
        return {"p": stored, "compensation": new_p - stored}
    if rounding == "stochastic":
        # a number for each element: of the element's place, the parameter's salt and the step's seed
        p, salt = trace.input("p", Level.ELEMENT), trace.input("salt", Level.TENSOR)
        draw = trace.apply("uniform", p, trace.input("rounding_seed", Level.HOST), salt)
        return {"p": trace.apply("stochastic_bfloat16", new_p, draw)}
    return {"p": new_p}
