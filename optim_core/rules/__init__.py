"""The language of update rules. Imports no torch; an author of rules and transforms imports from here.

To be read in the order of its layers::

    arithmetic    what each operation means for Python floats
    values        symbols, and the levels on which they live
    vocabulary    the words of a rule
    offers        the words that name things for transforms
    projection    a phrase that two methods share
    stacked       calls of functions of stacks, such as a product of matrices
    transform     what is composed with a rule
    trace         records one call of a rule, and the decisions in it
    graph         the result: an expression for every buffer
    options       a group's options as symbols
    rounding      how bfloat16 parameters take their new values
    compose       a rule, its options and its transforms become a graph
    calls         a graph cut at its calls of functions of stacks

docs/compiler.md follows one rule through them.
"""

from optim_core.rules.enclosing import Inner, Moved
from optim_core.rules.offers import Denominator, Offers, denominator, gain, root, second_moment
from optim_core.rules.options import GIVEN
from optim_core.rules.projection import tangential
from optim_core.rules.stacked import stacked
from optim_core.rules.trace import Trace
from optim_core.rules.transform import Transform
from optim_core.rules.values import ComplexShape, Level, Operand, Value
from optim_core.rules.vocabulary import (
    Over,
    amax,
    atan2,
    bfloat16,
    centred,
    clamp,
    cos,
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
    "GIVEN",
    "ComplexShape",
    "Denominator",
    "Inner",
    "Level",
    "Moved",
    "Offers",
    "Operand",
    "Over",
    "Trace",
    "Transform",
    "Value",
    "amax",
    "atan2",
    "bfloat16",
    "centred",
    "clamp",
    "cos",
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
