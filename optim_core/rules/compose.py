"""From a rule, its options and its transforms to one graph.

Weight decay, ``maximize`` and transforms (gradient centralisation ...) join the rule before it is traced, so
they cost no pass over memory of their own::

    g  ->  g / grad_scale (AMP)  ->  -g (maximize)  ->  transforms  ->  g + weight_decay * p (L2)               ->  rule
    p  ->  transforms  ->  p * (1 - lr * weight_decay) (decoupled)                                  ->  rule
    rule  ->  transforms of what it divides by, the innermost first
    rule  ->  p * (1 - what transforms make of its second moment)
    rule  ->  transforms of the update, the innermost first
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from optim_core.errors import RuleError
from optim_core.rules.graph import Graph, Home
from optim_core.rules.offers import Offers
from optim_core.rules.rounding import Rounding, rounded, whole_parameter
from optim_core.rules.transform import Transform
from optim_core.rules.values import Level, Trace, Value


@dataclass(frozen=True)
class Settings:
    """The options that the composition itself needs, apart from the rule's."""

    decay: Literal["l2", "decoupled"] | None
    fixed_decay: bool
    maximize: bool
    transforms: tuple[Transform, ...]
    rounding: Rounding = "nearest"


@dataclass(frozen=True)
class Buffer:
    """A tensor (or list of them) that the rule takes by position."""

    name: str
    level: Level
    written: bool
    every: int = 1
    #: number of tensors if the rule takes a list, else None
    copies: int | None = None
    #: False where the options in force do without it: the rule gets None
    present: bool = True

    def symbols(self, trace: Trace) -> Any:
        """What the rule gets: a symbol, a list of them, or None."""
        if not self.present:
            return None
        if self.copies is None:
            return trace.input(self.name, self.level, self.every)
        return [trace.input(name, self.level, self.every) for name in self.names]

    @property
    def names(self) -> list[str]:
        """The names of the buffers behind it."""
        return [self.name] if self.copies is None else [f"{self.name}[{i}]" for i in range(self.copies)]


def entering(p: Value, g: Value, settings: Settings, scalars: Mapping[str, Any]) -> tuple[Value, Value, Value]:
    """Parameter and gradient after unscaling, maximize, the transforms and L2; last, the gradient before a last L2."""
    if scalars.get("grad_scale") is not None:
        g = g * (1 / scalars["grad_scale"])
    if settings.maximize:
        g = -g
    l2 = settings.decay == "l2" and bool(scalars["weight_decay"])
    for transform in settings.transforms:
        if l2 and transform.after_l2:
            g, l2 = g + scalars["weight_decay"] * p, False
        g, p = transform.gradient(g, p), transform.parameter(p, scalars)
    return p, g + scalars["weight_decay"] * p if l2 else g, g


def decayed(p: Value, settings: Settings, scalars: Mapping[str, Any]) -> Value:
    """The parameter after decoupled decay."""
    if settings.decay != "decoupled" or not scalars["weight_decay"]:
        return p
    factor: Value = scalars["weight_decay"] if settings.fixed_decay else scalars["lr"] * scalars["weight_decay"]
    return p * (1 - factor)


def offers_of(settings: Settings) -> Offers:
    """What a rule finds on its trace to name things on."""
    acting = [t for t in reversed(settings.transforms) if type(t).denominator is not Transform.denominator]
    return Offers([t.denominator for t in acting])


def transformed(
    p: Value, new_p: Value, g: Value, settings: Settings, scalars: Mapping[str, Any], offers: Offers
) -> Value:
    """The new parameter after the transforms have decayed it and seen the update, the innermost first."""
    for transform in settings.transforms:
        if type(transform).decayed is not Transform.decayed:
            start = transform.decayed(p, scalars, offers)
            if start is not p:
                p, new_p = start, start - update_of(p, new_p)
    for transform in reversed(settings.transforms):
        if type(transform).update is not Transform.update:
            new_p = p - transform.update(update_of(p, new_p), g, p)
    return new_p


def update_of(p: Value, new_p: Value) -> Value:
    """What has been subtracted from p."""
    return new_p.args[1] if new_p.op == "sub" and new_p.args[0] is p else p - new_p


def compose(
    rule: Callable[..., Any],
    trace: Trace,
    buffers: Sequence[Buffer],
    scalars: Mapping[str, Any],
    wanted: Sequence[str],
    settings: Settings,
) -> Graph:
    """Trace ``rule`` with everything around it.

    Args:
        rule: called as ``rule(p, g, *buffers, **scalars)``; returns p and the new states, in order.
        trace: an empty trace that knows the host numbers.
        buffers: what stands behind each position after p and g.
        scalars: options by name: HOST symbols, tuples of them, or plain Python values.
        wanted: the names in ``scalars`` that the rule takes.
        settings: decay, maximize, transforms.

    Raises:
        RuleError: the rule returns something else than p and its states.
    """
    for transform in settings.transforms:
        scalars = transform.options(scalars)
    p = whole_parameter(trace, trace.input("p", Level.ELEMENT), settings.rounding)
    p, g, plain = entering(p, trace.input("g", Level.ELEMENT), settings, scalars)
    p_in = decayed(p, settings, scalars)
    trace.offers = offers_of(settings)
    result = rule(p_in, g, *(b.symbols(trace) for b in buffers), **{name: scalars[name] for name in wanted})
    new = result if isinstance(result, tuple) else (result,)
    states = [b for b in buffers if b.written]
    if len(new) != 1 + len(states):
        raise RuleError(f"{rule.__qualname__} returns {len(new)} values instead of p and {len(states)} states")
    who = rule.__qualname__
    new_p = _checked(who, Buffer("p", Level.ELEMENT, written=True), "p", new[0], trace)
    new_p = transformed(p_in, new_p, plain, settings, scalars, trace.offers)
    outputs = rounded(trace, new_p, settings.rounding)
    for place, transform in enumerate(settings.transforms):
        names = transform.buffers(place)
        kept = [trace.input(name, Level.ELEMENT) for name in names]
        outputs |= zip(names, transform.keep(new_p, kept, scalars), strict=True)
    homes = dict.fromkeys(outputs, Home(Level.ELEMENT))
    for buffer, value in zip(states, new[1:], strict=True):
        if buffer.present:
            values = [value] if buffer.copies is None else value
            if not isinstance(values, (list, tuple)) or len(values) != len(buffer.names):
                raise RuleError(f"{who} returns {value!r} for {buffer.name!r}, a list of {buffer.copies} states")
            pairs = zip(buffer.names, values, strict=True)
            outputs |= {name: _checked(who, buffer, name, v, trace) for name, v in pairs}
    whole = {b.name for b in states if b.level is Level.WHOLE}
    own = {b.name for b in states if b.level is Level.OWN}
    homes |= {name: Home(b.level, b.every) for b in states for name in b.names}
    changed = {name: v for name, v in outputs.items() if not (v.op == "input" and v.name == name)}
    if trace.calls and trace.totals:
        around = ", ".join(type(t).__name__ for t in settings.transforms)
        raise RuleError(
            f"{who}{f' with {around}' if around else ''}: total(...) does not go with functions of stacks, which see "
            "some of the parameters at a time"
        )
    return Graph(
        outputs={name: v for name, v in changed.items() if name not in whole | own},
        whole={name: v for name, v in changed.items() if name in whole},
        trace=trace,
        homes={name: homes[name] for name in changed if name not in whole | own},
        own={name: v for name, v in changed.items() if name in own},
    )


def _checked(who: str, buffer: Buffer, name: str, value: Any, trace: Trace) -> Value:
    """What a rule returns for a buffer, as a symbol that fits into it."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return trace.constant(value)
    if not isinstance(value, Value):
        raise RuleError(f"{who} returns {type(value).__name__} for {name!r} instead of its new value")
    if (value.level is Level.OWN) is not (buffer.level is Level.OWN):
        raise RuleError(
            f"{who} returns {value!r} for {name!r}: a state with a shape of its own takes what a function of stacks "
            "returns as 'own', and nothing else does"
        )
    if value.level < buffer.level:
        level, finer = buffer.level.name.lower(), value.level.name.lower()
        remedy = "total(...)" if buffer.level is Level.WHOLE else "norm, dot, mean or amax"
        raise RuleError(
            f"{who} returns one number for each {finer} for {name!r}, which has one for each {level}: reduce it "
            f"({remedy}), or declare the state with level={finer!r}"
        )
    if buffer.level is Level.ELEMENT and value.level <= Level.ROW and value.every != buffer.every:
        raise RuleError(
            f"{who} returns every {value.every}th element for {name!r}, which holds every {buffer.every}th: "
            "sample(...) goes with state(every=...)"
        )
    return trace.number(value)
