"""Symbols: what an update rule is called with, and the levels on which they live.

A rule is ordinary Python arithmetic. Called once with :class:`Value` objects instead of numbers, it leaves an
expression graph, which an engine then runs for every parameter and at every step. Values live on levels:

========  =====================================================  ==================================
level     one number per                                         shape for a parameter of (n, a, b)
========  =====================================================  ==================================
ELEMENT   element of the parameter                               (n, a, b)
ROW       output unit, that is index of dimension 0              (n, 1, 1)
TENSOR    parameter tensor                                       ()
WHOLE     optimizer: all parameters of all groups                ()
HOST      step and group: a Python float (lr, bias corrections)  a float
========  =====================================================  ==================================

A result lives on the finest level of its operands (coarser operands are broadcast); a reduction lifts it. Beside the
levels, a value of level OWN stands for tensors in shapes of their own, such as a matrix per axis of the parameter: only
functions of stacks (:mod:`optim_core.rules.stacked`) take it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any, Protocol, TypeAlias

from optim_core.errors import RuleError
from optim_core.rules.arithmetic import MASKS
from optim_core.rules.remedies import instead_of


class Level(IntEnum):
    """Where a value has a number of its own: in each element, row, tensor ...; smaller is finer."""

    OWN = -1
    ELEMENT = 0
    ROW = 1
    TENSOR = 2
    WHOLE = 3
    HOST = 4


class _Trace(Protocol):
    """The part of :class:`optim_core.rules.trace.Trace`, which stands above this module, that values and words use."""

    totals: list[Value]
    #: an :class:`optim_core.rules.offers.Offers`, which stands above values too; or None
    offers: Any

    def apply(self, op: str, *operands: object) -> Value: ...
    def reduce(self, op: str, level: Level, *operands: Value) -> Value: ...
    def sample(self, x: Value, every: int) -> Value: ...
    def copy(self, x: Value) -> Value: ...
    def call(
        self, function: Callable[..., Any], levels: Sequence[Level], tensors: Sequence[Any], numbers: Mapping[str, Any]
    ) -> tuple[Value, ...]: ...
    def shape_fact(self, fact: Callable[[Sequence[int]], int]) -> int: ...
    def refuse_complex(self, what: str) -> None: ...
    def decide(self, value: Value, use: str, kind: Callable[[float], float]) -> float: ...


class _MissingWord(RuleError, AttributeError):
    """A method that a symbol does not have; ``hasattr`` is false."""


def _refused(what: str, remedy: str) -> Callable[..., Any]:
    def refuse(self: Value, *operands: object) -> Any:
        del operands
        raise RuleError(f"{self!r}: a rule has no {what}: {remedy}")

    return refuse


class ComplexShape(tuple[int, ...]):
    """The shape of a complex parameter. Its buffers hold pairs of real numbers, in one dimension more.

    Dimensions, rows and elements are those of the parameter; what is computed element by element is computed for the
    real and the imaginary part each.
    """

    __slots__ = ()


class Value:
    """A symbol of a trace: an input, a constant, or an operation on other symbols.

    Supports ``+ - * / **``, unary minus, ``abs``, comparisons, ``& | ~`` on conditions; everything else is in
    :mod:`optim_core.rules.vocabulary`. A HOST value may decide an ``if``: the trace remembers the decision and
    is made again when it would turn out otherwise. Values of other levels cannot: use ``where``.
    """

    __slots__ = ("args", "every", "index", "level", "name", "number", "op", "trace")
    __hash__ = object.__hash__

    def __init__(
        self,
        trace: _Trace,
        op: str,
        args: tuple[Value, ...] = (),
        *,
        level: Level,
        name: str = "",
        number: float = 0.0,
        every: int = 1,
    ) -> None:
        self.trace = trace
        self.op = op
        self.args = args
        self.level = level
        self.name = name
        self.number = number
        #: 1, or n where the value holds elements 0, n, 2n, ... of the flattened tensor only
        self.every = every
        self.index = -1

    def __repr__(self) -> str:
        return self._text(6)

    def _text(self, depth: int) -> str:
        if self.op == "input":
            return self.name
        if self.op == "constant":
            return repr(self.number)
        # a value may be shared many times over: written out in full it could fill books
        return f"{self.op}({', '.join(a._text(depth - 1) for a in self.args) if depth else '...'})"

    @property
    def is_mask(self) -> bool:
        """True for a condition (true or false), False for a number."""
        return self.op in MASKS

    @property
    def ndim(self) -> int:
        """The number of dimensions of the parameter; the trace remembers it."""
        return self.trace.shape_fact(len)

    @property
    def row_size(self) -> int:
        """1 if the parameter's rows are single elements, otherwise 2, which stands for any larger size.

        A method that centres or normalises rows must leave single elements alone.
        """
        return self.trace.shape_fact(_row_size)

    # arithmetic -------------------------------------------------------------------------------------------
    def __add__(self, other: Value | float) -> Value:
        return self.trace.apply("add", self, other)

    def __radd__(self, other: float) -> Value:
        return self.trace.apply("add", other, self)

    def __sub__(self, other: Value | float) -> Value:
        return self.trace.apply("sub", self, other)

    def __rsub__(self, other: float) -> Value:
        return self.trace.apply("sub", other, self)

    def __mul__(self, other: Value | float) -> Value:
        return self.trace.apply("mul", self, other)

    def __rmul__(self, other: float) -> Value:
        return self.trace.apply("mul", other, self)

    def __truediv__(self, other: Value | float) -> Value:
        return self.trace.apply("div", self, other)

    def __rtruediv__(self, other: float) -> Value:
        return self.trace.apply("div", other, self)

    def __pow__(self, other: Value | float) -> Value:
        return self.trace.apply("pow", self, other)

    def __rpow__(self, other: float) -> Value:
        return self.trace.apply("pow", other, self)

    def __mod__(self, other: Value | float) -> Value:
        return self.trace.apply("mod", self, other)

    def __neg__(self) -> Value:
        return self.trace.apply("neg", self)

    def __abs__(self) -> Value:
        return self.trace.apply("abs", self)

    # conditions -------------------------------------------------------------------------------------------
    def __lt__(self, other: Value | float) -> Value:
        return self.trace.apply("lt", self, other)

    def __le__(self, other: Value | float) -> Value:
        return self.trace.apply("le", self, other)

    def __gt__(self, other: Value | float) -> Value:
        return self.trace.apply("gt", self, other)

    def __ge__(self, other: Value | float) -> Value:
        return self.trace.apply("ge", self, other)

    def __eq__(self, other: object) -> Value:  # type: ignore[override]  # a comparison is a symbol too
        return self.trace.apply("eq", self, other)

    def __ne__(self, other: object) -> Value:  # type: ignore[override]
        return self.trace.apply("ne", self, other)

    def __and__(self, other: Value) -> Value:
        return self.trace.apply("and", self, other)

    def __or__(self, other: Value) -> Value:
        return self.trace.apply("or", self, other)

    def __invert__(self) -> Value:
        return self.trace.apply("not", self)

    def __bool__(self) -> bool:
        return bool(self.trace.decide(self, "an `if`, `and`, `or` or `not`", bool))

    def __int__(self) -> int:
        return int(self.trace.decide(self, "an integer", int))

    __index__ = __int__

    def __float__(self) -> float:
        return float(self.trace.decide(self, "a number", float))

    # what torch and numpy would do ------------------------------------------------------------------------------
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python's own protocols ask for these
            raise AttributeError(name)
        raise _MissingWord(f"{self!r} has no {name!r}, it is a symbol and not a tensor: {instead_of(name)}")

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        del types, arguments, keywords
        name = getattr(function, "__name__", str(function))
        raise RuleError(f"torch's {name} takes tensors, and a rule works on symbols: {instead_of(name)}")

    def __array_ufunc__(self, function: Any, method: str, *arguments: Any, **keywords: Any) -> Any:
        del method, arguments, keywords
        name = getattr(function, "__name__", str(function))
        raise RuleError(f"numpy's {name} takes arrays, and a rule works on symbols: {instead_of(name)}")

    def __array_function__(self, function: Any, types: Any, arguments: Any, keywords: Any) -> Any:
        del types
        return self.__array_ufunc__(function, "", *arguments, **keywords)

    def __array__(self, *arguments: Any, **keywords: Any) -> Any:
        del arguments, keywords
        raise RuleError(f"{self!r} is a symbol, and no array comes of it: {instead_of('array')}")

    __matmul__ = __rmatmul__ = _refused("`@`", "dot(a, b), or a function of tensors that is marked @stacked(...)")
    __floordiv__ = __rfloordiv__ = _refused("`//`", "write a / b; nothing is rounded in a rule")
    __xor__ = __rxor__ = _refused("`^`", "write a**b for a power, (a | b) & ~(a & b) for conditions")
    __getitem__ = _refused("`[...]`", "it works on whole tensors: where(condition, a, b), or sample(x, every)")
    __setitem__ = _refused("`[...] =`", f"{instead_of('index_put_')}")
    __len__ = _refused("len()", "write size(x) of optim_core.rules")

    def __iter__(self) -> Iterator[Value]:
        raise RuleError(f"{self!r} is one value, not a sequence; a rule works on whole tensors, without loops")


def _row_size(shape: Sequence[int]) -> int:
    return min(2, math.prod(shape[1:]))


def numbers_each(shape: Sequence[int]) -> int:
    """How many real numbers an element of a parameter has: 2 if it is complex.

    Example:
        >>> numbers_each(ComplexShape((3,))), numbers_each((3,))
        (2, 1)
    """
    return 2 if isinstance(shape, ComplexShape) else 1


#: What words take.
Operand: TypeAlias = Value | float
