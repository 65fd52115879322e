"""The words of an update rule, beside ``+ - * / **`` and comparisons.

Each takes symbols (:class:`~optim_core.rules.Value`) or numbers. Elementwise words work on any level;
reductions say over what: ``norm(g)`` is one number per tensor, ``norm(g, over="row")`` one per output unit
(index of dimension 0), ``total(...)`` one for all parameters of all groups.

Example:
    >>> from optim_core.rules.trace import Trace
    >>> from optim_core.rules.values import Level
    >>> trace = Trace({"lr": 0.1})
    >>> p, g = (trace.input(name, Level.ELEMENT) for name in "pg")
    >>> p - trace.input("lr", Level.HOST) * g / norm(g)
    sub(p, div(mul(lr, g), norm(g)))
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from optim_core.errors import RuleError
from optim_core.rules.arithmetic import HOST_OPERATIONS
from optim_core.rules.values import Level, Operand, Value

Over: TypeAlias = Literal["row", "tensor"]

_OVER = {"row": Level.ROW, "tensor": Level.TENSOR}


def _elementwise(op: str, *operands: Operand) -> Value:
    for x in operands:
        if isinstance(x, Value):
            return x.trace.apply(op, *operands)
    # a rule may be tried by hand, and options such as eps may be plain floats: numbers in, a number out
    return HOST_OPERATIONS[op](*operands)  # type: ignore[return-value]


def sqrt(x: Operand) -> Value:
    """Square root."""
    return _elementwise("sqrt", x)


def square(x: Operand) -> Value:
    """x * x."""
    return _elementwise("square", x)


def sign(x: Operand) -> Value:
    """-1, 0 or 1; 0 for 0."""
    return _elementwise("sign", x)


def exp(x: Operand) -> Value:
    """e to the power x."""
    return _elementwise("exp", x)


def log(x: Operand) -> Value:
    """Natural logarithm."""
    return _elementwise("log", x)


def cos(x: Operand) -> Value:
    """Cosine."""
    return _elementwise("cos", x)


def tanh(x: Operand) -> Value:
    """Hyperbolic tangent."""
    return _elementwise("tanh", x)


def sigmoid(x: Operand) -> Value:
    """1 / (1 + exp(-x))."""
    return _elementwise("sigmoid", x)


def minimum(a: Operand, b: Operand) -> Value:
    """The smaller of two values."""
    return _elementwise("minimum", a, b)


def maximum(a: Operand, b: Operand) -> Value:
    """The larger of two values."""
    return _elementwise("maximum", a, b)


def atan2(y: Operand, x: Operand) -> Value:
    """The angle, in (-pi, pi], of the point (x, y); 0 for (0, 0). For x > 0 the arc tangent of y / x."""
    return _elementwise("atan2", y, x)


def clamp(x: Operand, low: Operand, high: Operand) -> Value:
    """x, but at least ``low`` and at most ``high``."""
    return minimum(maximum(x, low), high)


def lerp(start: Operand, end: Operand, weight: Operand) -> Value:
    """(1 - weight) * start + weight * end, torch.lerp's order: ``lerp(g, exp_avg, beta)`` is a moving average."""
    if isinstance(start, Value) and start.op == "square":
        # (1 - weight) x x, as torch's addcmul has it, is finite for some x whose squares are not
        return _elementwise("average_of_squares", start.args[0], end, weight)
    return _elementwise("lerp", start, end, weight)


def bfloat16(x: Operand) -> Value:
    """x rounded to the precision of bfloat16; a function of stacks gets it in that type."""
    return _elementwise("bfloat16", x)


def where(condition: Operand, a: Operand, b: Operand) -> Value:
    """``a`` where the condition holds, otherwise ``b``."""
    return _elementwise("where", condition, a, b)


def softplus(x: Operand, sharpness: Operand) -> Value:
    """log(1 + exp(b x)) / b, b the sharpness: smooth, above x and above 0; x itself where b x > 20, as in torch."""
    return where(sharpness * x > 20, x, log(1 + exp(sharpness * x)) / sharpness)


def _reduce(op: str, over: str, *operands: Value) -> Value:
    if over not in _OVER:
        raise RuleError(f"{op}: over={over!r} is not one of 'row', 'tensor'; total(...) sums over all parameters")
    return _symbol(op, operands[0]).trace.reduce(op, _OVER[over], *operands)


def _symbol(op: str, x: object) -> Value:
    if not isinstance(x, Value):
        raise RuleError(f"{op} takes symbols, such as g or a state, not {x!r:.60}")
    return x


def norm(x: Value, over: Over = "tensor") -> Value:
    """Euclidean norm."""
    return _reduce("norm", over, x)


def dot(a: Value, b: Value, over: Over = "tensor") -> Value:
    """Inner product."""
    return _reduce("dot", over, a, b)


def mean(x: Value, over: Over = "tensor") -> Value:
    """Arithmetic mean: the sum by the number of elements, which for a complex parameter are complex numbers.

    So ``mean(square(x))`` is the mean of ``|x|^2``. The mean of a condition is the share of numbers that fulfil it, of
    real and imaginary parts apart. What takes a mean away says :func:`centred`.
    """
    return _reduce("mean", over, x)


def centred(x: Value, over: Over = "tensor") -> Value:
    """x without its mean.

    Raises:
        UnsupportedParameter: the parameter is complex: real and imaginary parts have means of their own.
    """
    x.trace.refuse_complex("what takes means away")
    return x - mean(x, over)


def amax(x: Value, over: Over = "tensor") -> Value:
    """Largest value."""
    return _reduce("amax", over, x)


def size(x: Value, over: Over = "tensor") -> Value:
    """The number of elements; a complex number is one."""
    return _reduce("size", over, x)


def total(x: Value) -> Value:
    """Sum over everything: all elements (or rows, or tensors) of all parameters of all groups."""
    return _symbol("total", x).trace.reduce("sum", Level.WHOLE, x)


def sample(x: Value, every: Operand) -> Value:
    """Elements 0, every, 2*every, ... of the flattened tensor; meets other sampled values and reductions only."""
    return _symbol("sample", x).trace.sample(x, int(every))
