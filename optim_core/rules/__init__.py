"""The update-rule compiler: symbols and their vocabulary, tracing, composition, engines.

A rule imports its words from here; see :mod:`optim_core.rules.values` for what they mean.
"""

from optim_core.rules.compose import Transform
from optim_core.rules.projection import tangential
from optim_core.rules.stacked import stacked
from optim_core.rules.values import Level, Trace, Value
from optim_core.rules.vocabulary import (
    amax,
    clamp,
    dot,
    exp,
    lerp,
    log,
    maximum,
    mean,
    minimum,
    norm,
    sample,
    sigmoid,
    sign,
    size,
    sqrt,
    square,
    tanh,
    total,
    where,
)

__all__ = [
    "Level",
    "Trace",
    "Transform",
    "Value",
    "amax",
    "clamp",
    "dot",
    "exp",
    "lerp",
    "log",
    "maximum",
    "mean",
    "minimum",
    "norm",
    "sample",
    "sigmoid",
    "sign",
    "size",
    "sqrt",
    "square",
    "stacked",
    "tangential",
    "tanh",
    "total",
    "where",
]
