"""The language of update rules: symbols and their vocabulary, tracing, composition. Imports no torch.

A rule imports its words from here; see :mod:`optim_core.rules.values` for what they mean.
"""

from optim_core.rules.offers import Denominator, Offers, denominator, gain, root, second_moment
from optim_core.rules.projection import tangential
from optim_core.rules.stacked import stacked
from optim_core.rules.trace import Trace
from optim_core.rules.transform import Transform
from optim_core.rules.values import Level, Value
from optim_core.rules.vocabulary import (
    Over,
    amax,
    bfloat16,
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
    softplus,
    sqrt,
    square,
    tanh,
    total,
    where,
)

__all__ = [
    "Denominator",
    "Level",
    "Offers",
    "Over",
    "Trace",
    "Transform",
    "Value",
    "amax",
    "bfloat16",
    "clamp",
    "denominator",
    "dot",
    "exp",
    "gain",
    "lerp",
    "log",
    "maximum",
    "mean",
    "minimum",
    "norm",
    "root",
    "sample",
    "second_moment",
    "sigmoid",
    "sign",
    "size",
    "softplus",
    "sqrt",
    "square",
    "stacked",
    "tangential",
    "tanh",
    "total",
    "where",
]
