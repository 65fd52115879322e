"""Trace: records one call of a rule, and the decisions on which the record rests.

Every operation on a :class:`~optim_core.rules.Value` asks its trace for the result, a new symbol. Equal expressions are
one symbol. Where Python needs a number instead (an `if`, an integer), the trace computes it from the host numbers at
hand and keeps a :class:`Guard`; where it asks for the parameter's shape, the trace keeps the answer. The record serves
for all other numbers and shapes for which these come out the same.

Example:
    >>> from optim_core.rules.values import Level
    >>> trace = Trace({"lr": 0.1, "step": 1.0}, shape=(2, 3))
    >>> p, g = (trace.input(name, Level.ELEMENT) for name in "pg")
    >>> lr, step = (trace.input(name, Level.HOST) for name in ("lr", "step"))
    >>> p - lr * g if step < 3 else p
    sub(p, mul(lr, g))
    >>> trace.holds({"lr": 0.2, "step": 2.0}), trace.holds({"lr": 0.2, "step": 3.0})
    (True, False)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from optim_core.errors import RuleError, UnsupportedParameter
from optim_core.rules.arithmetic import HOST_OPERATIONS, LOGICAL
from optim_core.rules.offers import Offers
from optim_core.rules.values import Level, Value, numbers_each


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


#: What to do instead, by what a value was to serve as.
_INSTEAD = {
    "": "use where(condition, a, b)",
    "a number": "functions of math take numbers; use the words of optim_core.rules, such as sqrt(x) for math.sqrt(x)",
}


class Trace:
    """Records one call of a rule.

    Args:
        host: the numbers that HOST inputs have in this call; they decide branches and are otherwise symbolic.
        shape: shape of the parameter at hand; a :class:`~optim_core.rules.ComplexShape` if it is complex.

    Attributes:
        guards: the decisions taken.
        shape_facts: what the rule has asked of the parameter's shape, with the answers.
        totals: the sums over all parameters, in the order in which the rule asked for them.
        calls: the calls of functions of stacks, in order.
        offers: collects what the rule names for transforms to act on; None where nobody wants to know.
    """

    def __init__(self, host: Mapping[str, float], shape: Sequence[int] = (1,)) -> None:
        self.guards: list[Guard] = []
        self.totals: list[Value] = []
        self.calls: list[Call] = []
        self.offers: Offers | None = None
        self._host = host
        self._shape = shape
        self.shape_facts: dict[Callable[[Sequence[int]], int], int] = {}
        self._values: dict[_Key, Value] = {}
        self._decisions: set[tuple[int, Callable[[float], float]]] = set()

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
        """One number per row, per tensor or for the whole model, from values of a finer level."""
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
            return self._per_element(self._emit(op, args, level, 1), operands)
        # Two equal totals are two: they may be equal for some of the parameters that they sum over only.
        key = ("total", len(self.totals))
        self.totals.append(self._once(key, lambda: Value(self, op, args, level=level)))
        return self.totals[-1]

    def _per_element(self, reduced: Value, operands: Sequence[Value]) -> Value:
        """A count of numbers, or a mean over them, as one of elements; but a mean of conditions is a share."""
        (x, *_) = operands
        counts = reduced.op == "size" or (reduced.op == "mean" and not x.is_mask)
        if not counts or x.level is not Level.ELEMENT or x.every > 1 or self.shape_fact(numbers_each) == 1:
            return reduced
        return self.apply("mul", reduced, 2.0 if reduced.op == "mean" else 0.5)

    def refuse_complex(self, what: str) -> None:
        """Refuse a complex parameter.

        Raises:
            UnsupportedParameter: it is one; ``what`` says what is for real ones.
        """
        if self.shape_fact(numbers_each) > 1:
            raise UnsupportedParameter(
                f"{what} is for real parameters, and one of shape {tuple(self._shape)} is complex: keep complex ones "
                "in an optimizer of their own, such as adamw"
            )

    def sample(self, x: Value, every: int) -> Value:
        """Elements 0, every, 2*every, ... of the flattened tensor."""
        if x.level is not Level.ELEMENT or x.every != 1:
            raise RuleError(f"sample() takes a value with one number per element, not {x!r}")
        if every < 1:
            raise RuleError(f"sample() takes every >= 1, not {every}")
        return x if every == 1 else self._emit("sample", (x,), Level.ELEMENT, every)

    def call(
        self, function: Callable[..., Any], levels: Sequence[Level], tensors: Sequence[Any], numbers: Mapping[str, Any]
    ) -> tuple[Value, ...]:
        """The results, on ``levels``, of a function that runs on stacks as it is written.

        Raises:
            RuleError: it cannot be called with these arguments.
            UnsupportedParameter: the parameter is complex.
        """
        name = getattr(function, "__qualname__", str(function))
        self.refuse_complex("what it does with whole matrices")
        arguments = tuple(x if x is None else self.number(self._lift(name, x)) for x in tensors)
        for x in arguments:
            if x is not None and x.level > Level.ELEMENT:
                raise RuleError(
                    f"{name} takes values with one number per element and states in shapes of their own by position, "
                    f"not {x!r}: give numbers by keyword"
                )
        for key, x in numbers.items():
            for y in x if isinstance(x, tuple) else (x,):
                if isinstance(y, Value) and y.level is not Level.HOST:
                    raise RuleError(f"{name}: {key}={y!r} is not a host number: give it by position")
        at = len(self.calls)
        results = tuple(self.input(f"call{at}.{i}", level) for i, level in enumerate(levels))
        self.calls.append(Call(function, arguments, dict(numbers), results))
        return results

    def copy(self, x: Value) -> Value:
        """The same value in memory of its own."""
        return self._emit("copy", (x,), x.level, x.every)

    def shape_fact(self, fact: Callable[[Sequence[int]], int]) -> int:
        """A number that follows from the parameter's shape; the trace remembers it, see :meth:`fits`."""
        self.shape_facts[fact] = fact(self._shape)
        return self.shape_facts[fact]

    def decide(self, value: Value, use: str, kind: Callable[[float], float]) -> float:
        """The outcome of ``kind(value)`` for a HOST value; the trace remembers it as a guard, see :meth:`holds`.

        Raises:
            RuleError: the value is not a host number; ``use`` says what it was to serve as.
        """
        if value.level is not Level.HOST:
            where = value.level.name.lower()
            differs = "is computed in the step" if value.level is Level.WHOLE else f"differs from {where} to {where}"
            raise RuleError(
                f"{value!r} {differs}, so it cannot serve as {use} of the rule: {_INSTEAD.get(use, _INSTEAD[''])}"
            )
        outcome = kind(evaluate(value, self._host))
        if value.op != "constant" and (value.index, kind) not in self._decisions:
            self._decisions.add((value.index, kind))
            self.guards.append(Guard(value, kind, outcome))
        return outcome

    def holds(self, host: Mapping[str, float]) -> bool:
        """True if the rule would take the same branches with these host numbers."""
        numbers: dict[int, float] = {}
        return all(g.kind(evaluate(g.value, host, numbers)) == g.outcome for g in self.guards)

    def fits(self, shape: Sequence[int]) -> bool:
        """True if the rule would take the same branches for a parameter of this shape."""
        return all(fact(shape) == number for fact, number in self.shape_facts.items())

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
        value = self._values.get(_Key(key))
        if value is None:
            value = make()
            value.index = len(self._values)
            self._values[_Key(key)] = value
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


def evaluate(value: Value, host: Mapping[str, float], numbers: MutableMapping[int, Any] | None = None) -> float:
    """The number that a HOST value has for these host inputs.

    Args:
        value: the value.
        host: the inputs by name.
        numbers: the results so far by index, for several values that share operands; grows.
    """
    if value.op == "constant":
        return value.number
    if value.op == "input":
        return host[value.name]
    numbers = {} if numbers is None else numbers
    if value.index not in numbers:
        numbers[value.index] = HOST_OPERATIONS[value.op](*(evaluate(a, host, numbers) for a in value.args))
    return numbers[value.index]  # type: ignore[no-any-return]
