"""Symbols: what an update rule is called with while it is traced, and the graph that comes out.

A rule is ordinary Python arithmetic. Called once with :class:`Value` objects instead of numbers it leaves an
expression graph, which an engine then runs for every parameter and at every step. Values live on levels:

========  =====================================================  ==================================
level     one number for each                                    shape for a parameter of (n, a, b)
========  =====================================================  ==================================
ELEMENT   element of the parameter                               (n, a, b)
ROW       output unit, that is index of dimension 0              (n, 1, 1)
TENSOR    parameter tensor                                       ()
WHOLE     optimizer: all parameters of all groups                ()
HOST      step and group: a Python float (lr, bias corrections)  a float
========  =====================================================  ==================================

A result lives on the finest level of its operands (coarser operands are broadcast); a reduction lifts it. Beside the
levels, a value of level OWN stands for tensors in shapes of their own, such as a matrix for each axis of the parameter:
only functions of stacks (:mod:`optim_core.rules.stacked`) take it.
"""

from __future__ import annotations

import math
import operator
import struct
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from optim_core.errors import RuleError

if TYPE_CHECKING:
    from optim_core.rules.offers import Offers


class Level(IntEnum):
    """How many numbers a value has; smaller is finer."""

    OWN = -1
    ELEMENT = 0
    ROW = 1
    TENSOR = 2
    WHOLE = 3
    HOST = 4


def _divide(a: float, b: float) -> float:
    if b != 0:
        return a / b
    return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1.0, b)


def _or_nan(function: Callable[[float], float]) -> Callable[[float], float]:
    """Python raises where IEEE arithmetic, and so every tensor operation, answers nan or inf."""

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
    """A number in [0, 1) of 16 bits, that of an element in one step: a hash, the same in every engine."""
    x = (place * 0x9E3779B9 + salt * 0x85EBCA6B + seed * 0xC2B2AE35) & 0xFFFFFFFF
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
    x = ((x ^ (x >> 15)) * 0x846CA68B) & 0xFFFFFFFF
    return ((x ^ (x >> 16)) >> 16) / 0x10000


#: Every elementwise operation, with its meaning on host floats. Engines hold a table with the same keys.
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
    "tanh": math.tanh,
    "sigmoid": lambda x: 1.0 / (1.0 + _exp(-x)),
    "minimum": _either_nan(min),
    "maximum": _either_nan(max),
    "lerp": _lerp,
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
COMPARISONS = frozenset({"lt", "le", "gt", "ge", "eq", "ne"})
#: What Python, C and Triton write alike.
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
LOGICAL = frozenset({"and", "or", "not"})
MASKS = COMPARISONS | LOGICAL
#: Reductions read values of a finer level and give one on ``level``; "dot" takes two, the others one.
REDUCTIONS = frozenset({"sum", "mean", "norm", "amax", "dot", "size"})


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
        trace: Trace,
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
        """Whether the value is a condition (true or false) rather than a number."""
        return self.op in MASKS

    @property
    def ndim(self) -> int:
        """Number of dimensions of the parameter; the trace remembers what it was."""
        return self.trace.look(len)

    @property
    def row_size(self) -> int:
        """1 if the parameter's rows are single elements, otherwise 2, which stands for any larger size.

        A method that centres or normalises rows must leave single elements alone.
        """
        return self.trace.look(_row_size)

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

    def __iter__(self) -> Iterator[Value]:
        raise RuleError(f"{self!r} is one value, not a sequence; a rule works on whole tensors, without loops")


def _row_size(shape: Sequence[int]) -> int:
    return min(2, math.prod(shape[1:]))


@dataclass(frozen=True)
class Call:
    """A call of a function of stacks.

    Attributes:
        function: takes stacks, with dimension 0 counting the parameters.
        tensors: its positional arguments: values on ELEMENT or OWN, or None.
        numbers: its keyword arguments: HOST values, or anything plain.
        results: the symbols of what it returns.
    """

    function: Callable[..., Any]
    tensors: tuple[Value | None, ...]
    numbers: Mapping[str, Any]
    results: tuple[Value, ...]


@dataclass(frozen=True)
class Guard:
    """A decision taken while tracing: ``kind(value)`` was ``outcome``."""

    value: Value
    kind: Callable[[float], float]
    outcome: float


class Trace:
    """Records one call of a rule.

    Args:
        host: the numbers that HOST inputs have in this call; they decide branches and are otherwise symbolic.
        shape: shape of the parameter at hand.

    Attributes:
        guards: the decisions taken.
        totals: the sums over all parameters, in the order in which the rule asked for them.
        calls: the calls of functions of stacks, in order.
        offers: what the rule has named for transforms to act on; None where nobody wants to know.
    """

    def __init__(self, host: Mapping[str, float], shape: Sequence[int] = (1,)) -> None:
        self.guards: list[Guard] = []
        self.totals: list[Value] = []
        self.calls: list[Call] = []
        self.offers: Offers | None = None
        self._host = host
        self._shape = shape
        self._looks: dict[Callable[[Sequence[int]], int], int] = {}
        self._known: dict[object, Value] = {}
        self._decided: set[tuple[int, Callable[[float], float]]] = set()

    def input(self, name: str, level: Level, every: int = 1) -> Value:
        """The symbol of a tensor (parameter, gradient, state) or of a host number."""
        return self._once(("input", name), lambda: Value(self, "input", level=level, name=name, every=every))

    def constant(self, number: float) -> Value:
        """The symbol of a number that never changes."""
        number = float(number)
        key = ("constant", math.copysign(1.0, number), "nan" if math.isnan(number) else number)
        return self._once(key, lambda: Value(self, "constant", level=Level.HOST, number=number))

    def apply(self, op: str, *operands: object) -> Value:
        """An elementwise operation; the result is on the finest level among its operands."""
        args = tuple(self._lift(op, x) for x in operands)
        conditions = len(args) if op in LOGICAL else 1 if op == "where" else 0
        args = (*args[:conditions], *map(self.number, args[conditions:]))
        if all(a.op == "constant" for a in args):
            return self.constant(HOST_OPERATIONS[op](*(a.number for a in args)))
        level = self._finest(op, args)
        if op == "mod" and level is not Level.HOST:
            raise RuleError("`%` works on host numbers (step, hyper-parameters) only")
        return self._emit(op, args, level, self._domain(op, args))

    def number(self, x: Value) -> Value:
        """A condition as 1.0 or 0.0; other values as they are."""
        return self.apply("where", x, 1.0, 0.0) if x.is_mask else x

    def reduce(self, op: str, level: Level, *operands: Value) -> Value:
        """One number for each row, tensor or for the whole, from values of a finer level."""
        args = tuple(self.number(self._lift(op, x)) for x in operands)
        finest = self._finest(op, args)
        if finest >= level:
            raise RuleError(
                f"{op}({', '.join(map(repr, args))}) asks for level {level.name}, but its operand is already on "
                f"{finest.name}: there is nothing left to reduce"
            )
        if level is Level.WHOLE and op != "sum":
            raise RuleError(f"only total(...) reduces over all parameters; compose it, not {op}")
        every = self._domain(op, args)
        if level is Level.ROW and every != 1:
            raise RuleError("sampled values have no rows")
        if level is not Level.WHOLE:
            return self._emit(op, args, level, 1)
        # Two equal totals are two: they may be equal for some of the parameters that they sum over only.
        key = ("total", len(self.totals))
        self.totals.append(self._once(key, lambda: Value(self, op, args, level=level)))
        return self.totals[-1]

    def sample(self, x: Value, every: int) -> Value:
        """Elements 0, every, 2*every, ... of the flattened tensor."""
        if x.level is not Level.ELEMENT or x.every != 1:
            raise RuleError(f"sample() takes a value with one number for each element, not {x!r}")
        if every < 1:
            raise RuleError(f"sample() takes every >= 1, not {every}")
        return x if every == 1 else self._emit("sample", (x,), Level.ELEMENT, every)

    def call(
        self, function: Callable[..., Any], levels: Sequence[Level], tensors: Sequence[Any], numbers: Mapping[str, Any]
    ) -> tuple[Value, ...]:
        """The results, on the levels given, of a function that runs on stacks as it stands."""
        name = getattr(function, "__qualname__", str(function))
        given = tuple(x if x is None else self.number(self._lift(name, x)) for x in tensors)
        for x in given:
            if x is not None and x.level > Level.ELEMENT:
                raise RuleError(
                    f"{name} takes values with one number for each element and states in shapes of their own by "
                    f"position, not {x!r}: give numbers by keyword"
                )
        for key, x in numbers.items():
            for y in x if isinstance(x, tuple) else (x,):
                if isinstance(y, Value) and y.level is not Level.HOST:
                    raise RuleError(f"{name}: {key}={y!r} is no host number: give it by position")
        at = len(self.calls)
        results = tuple(self.input(f"call{at}.{i}", level) for i, level in enumerate(levels))
        self.calls.append(Call(function, given, dict(numbers), results))
        return results

    def copy(self, x: Value) -> Value:
        """The same value in memory of its own."""
        return self._emit("copy", (x,), x.level, x.every)

    def look(self, at: Callable[[Sequence[int]], int]) -> int:
        """A number that follows from the parameter's shape, remembered."""
        self._looks[at] = at(self._shape)
        return self._looks[at]

    def decide(self, value: Value, use: str, kind: Callable[[float], float]) -> float:
        """The concrete outcome of a HOST value, remembered as a guard."""
        if value.level is not Level.HOST:
            where = value.level.name.lower()
            differs = "is computed in the step" if value.level is Level.WHOLE else f"differs from {where} to {where}"
            raise RuleError(f"{value!r} {differs}, so it cannot serve as {use} of the rule: use where(condition, a, b)")
        outcome = kind(evaluate(value, self._host))
        if value.op != "constant" and (value.index, kind) not in self._decided:
            self._decided.add((value.index, kind))
            self.guards.append(Guard(value, kind, outcome))
        return outcome

    def holds(self, host: Mapping[str, float]) -> bool:
        """Whether the rule would take the same branches with other host numbers."""
        known: dict[int, float] = {}
        return all(g.kind(evaluate(g.value, host, known)) == g.outcome for g in self.guards)

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether the rule would take the same branches for a parameter of this shape."""
        return all(at(shape) == seen for at, seen in self._looks.items())

    def _lift(self, op: str, x: object) -> Value:
        if isinstance(x, Value):
            if x.trace is not self:
                raise RuleError(f"{x!r} comes from another trace; a rule must not keep values between calls")
            return x
        if isinstance(x, (bool, int, float)):
            return self.constant(x)
        raise RuleError(f"{op}: a rule works on its arguments and numbers, not on {type(x).__name__}")

    @staticmethod
    def _finest(op: str, args: tuple[Value, ...]) -> Level:
        for a in args:
            if a.level is Level.OWN:
                raise RuleError(f"{op}: {a!r} has a shape of its own: hand it to a function of stacks (stacked(...))")
        return min(a.level for a in args)

    @staticmethod
    def _domain(op: str, args: tuple[Value, ...]) -> int:
        domains = {a.every for a in args if a.level is Level.ELEMENT}
        every = max(domains, default=1)
        if len(domains) > 1 or (every > 1 and any(a.level is Level.ROW for a in args)):
            raise RuleError(f"{op}: sampled and full values cannot meet element by element")
        return every

    def _emit(self, op: str, args: tuple[Value, ...], level: Level, every: int) -> Value:
        # Two equal expressions are one value: reads are shared and nothing is computed twice.
        return self._once((op, args, level, every), lambda: Value(self, op, args, level=level, every=every))

    def _once(self, key: object, make: Callable[[], Value]) -> Value:
        value = self._known.get(_Key(key))
        if value is None:
            value = make()
            value.index = len(self._known)
            self._known[_Key(key)] = value
        return value


class _Key:
    """A dictionary key that compares values by identity, since ``==`` on them makes a new symbol."""

    __slots__ = ("_plain",)

    def __init__(self, key: object) -> None:
        self._plain = _plain(key)

    def __hash__(self) -> int:
        return hash(self._plain)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self._plain == other._plain


def _plain(key: object) -> object:
    if isinstance(key, tuple):
        return tuple(_plain(k) for k in key)
    return id(key) if isinstance(key, Value) else key


def evaluate(value: Value, host: Mapping[str, float], known: MutableMapping[int, Any] | None = None) -> float:
    """The number that a HOST value has for the given host inputs; ``known`` keeps what has been computed, by index."""
    if value.op == "constant":
        return value.number
    if value.op == "input":
        return host[value.name]
    known = {} if known is None else known
    if value.index not in known:
        known[value.index] = HOST_OPERATIONS[value.op](*(evaluate(a, host, known) for a in value.args))
    return known[value.index]  # type: ignore[no-any-return]
