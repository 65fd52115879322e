"""From a rule, its options and its transforms to one graph.

Weight decay, ``maximize`` and transforms (gradient centralisation ...) join the rule before it is traced, so they cost
no pass over memory of their own. In the order of :func:`compose`::

    load              p  ->  with what bfloat16 has cut off (Kahan)
    enter             g  ->  g / grad_scale (AMP)  ->  -g (maximize)  ->  transforms  ->  g + weight_decay * p (L2)
                      p  ->  transforms
    decay             p  ->  p * (1 - lr * weight_decay) (decoupled)
    call_rule         p, g, states  ->  new p, new states; transforms change denominators on the way
    transform_update  new p  ->  p * (1 - decays by second moment)  -  update after the transforms
    enclose           p, g, states  ->  new p, new states of a rule around all of the above from `enter` on
    store             new p  ->  rounded
    keep              new p  ->  what transforms keep
    sort_by_level     all of it  ->  Graph

A gradient passes the outermost transform first, a denominator and an update the innermost. A rule around the rule
(:class:`~optim_core.rules.enclosing.Enclosing`) stands among the transforms: those before it act on what goes into it
and comes out of it, those behind it on what it calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from optim_core.errors import RuleError
from optim_core.rules.enclosing import Enclosing, Moved, update_of
from optim_core.rules.graph import Extent, Graph, Place
from optim_core.rules.offers import Change, Offers
from optim_core.rules.rounding import Rounding, load, store
from optim_core.rules.trace import Trace
from optim_core.rules.transform import IDENTITY, Transform, qualified
from optim_core.rules.values import Level, Value


@dataclass(frozen=True)
class CompositionSettings:
    """The options that the composition itself needs, apart from the rule's.

    Attributes:
        decay: how ``weight_decay`` acts; None if the method does not have it, or sees to it itself.
        fixed_decay: decoupled decay is not multiplied by ``lr``.
        maximize: the loss is ascended.
        transforms: by position, the outermost first.
        rounding: how a bfloat16 parameter takes its new value.
    """

    decay: Literal["l2", "decoupled"] | None
    fixed_decay: bool
    maximize: bool
    transforms: tuple[Transform, ...]
    rounding: Rounding = "nearest"


@dataclass(frozen=True)
class Buffer:
    """A tensor (or list of them) that the rule takes by position.

    Attributes:
        name: of the state or extra input.
        level: the level of its values.
        written: the rule returns a new value for it.
        every: 1, or n if it holds every n-th element only.
        copies: the number of tensors if the rule takes a list, else None.
        present: False if the options in force do without it: the rule gets None.
    """

    name: str
    level: Level
    written: bool
    every: int = 1
    copies: int | None = None
    present: bool = True

    def symbols(self, trace: Trace) -> Any:
        """The rule's argument: a symbol, a list of them, or None."""
        if not self.present:
            return None
        symbols = [trace.input(name, self.level, self.every) for name in self.places]
        return symbols[0] if self.copies is None else symbols

    @property
    def places(self) -> dict[str, Place]:
        """The places of its tensors, by their names in a graph."""
        if self.copies is None:
            return {self.name: Place(self.name)}
        return {f"{self.name}[{i}]": Place(self.name, position=i) for i in range(self.copies)}

    @property
    def extent(self) -> Extent:
        """The extent of each of its tensors."""
        return Extent(self.level, self.every)


def compose(
    rule: Callable[..., Any],
    trace: Trace,
    buffers: Sequence[Buffer],
    scalars: Mapping[str, Any],
    keywords: Sequence[str],
    settings: CompositionSettings,
    enclosing: Mapping[int, Sequence[Buffer]] = MappingProxyType({}),
) -> Graph:
    """Trace ``rule`` with everything around it.

    Args:
        rule: called as ``rule(p, g, *buffers, **scalars)``; returns p and the new states, in order.
        trace: an empty trace that knows the host numbers.
        buffers: what stands behind each position after p and g.
        scalars: options by name: HOST symbols, tuples of them, or plain Python values.
        keywords: the names in ``scalars`` that the rule takes.
        settings: decay, maximize, transforms.
        enclosing: the buffers of the transforms that are rules around the rule, by their positions.

    Raises:
        RuleError: the rule returns something else than p and its states.
    """
    for transform in settings.transforms:
        scalars = transform.options(scalars)
    p, g = (trace.input(name, Level.ELEMENT) for name in "pg")
    trace.offers = offers_of(settings)
    call = _Call(rule, trace, buffers, keywords, settings, enclosing)
    new_p = call(load(trace, p, settings.rounding), to_descend(g, settings, scalars), scalars).p
    outputs = store(trace, new_p, settings.rounding)
    memory, places = keep(new_p, settings, scalars, trace)
    _check_totals(rule, trace, settings)
    outputs |= memory
    extents = dict.fromkeys(outputs, Extent(Level.ELEMENT))
    for buffer in (*buffers, *call.enclosed):
        extents |= dict.fromkeys(buffer.places, buffer.extent)
        places |= buffer.places
    return sort_by_level(outputs | call.states, extents, places | call.places, trace)


@dataclass(eq=False)
class _Call:
    """One call of a rule, with the transforms from some position on around it; collects new states by buffer."""

    rule: Callable[..., Any]
    trace: Trace
    buffers: Sequence[Buffer]
    keywords: Sequence[str]
    settings: CompositionSettings
    enclosing: Mapping[int, Sequence[Buffer]]
    states: dict[str, Value] = field(default_factory=dict)
    enclosed: list[Buffer] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)

    def __call__(
        self, p: Value, g: Value, scalars: Mapping[str, Any], position: int = 0, *, after_l2: bool = False
    ) -> Moved:
        transforms = self.settings.transforms[position:]
        split, around = next(
            ((i, t) for i, t in enumerate(transforms) if isinstance(t, Enclosing)), (len(transforms), None)
        )
        outside = transforms[:split]
        l2 = self.settings.decay == "l2" and not after_l2 and bool(scalars["weight_decay"])
        p, g, l2 = enter(p, g, outside, scalars, l2=l2)
        if around is None:
            moved = self._innermost(p, g, scalars, l2=l2)
        else:
            moved = self._enclose(around, p, g, scalars, position + split, after_l2=not l2)
        offers = self.trace.offers or Offers()
        start, new_p = transform_update(moved.start, moved.p, moved.gradient, outside, scalars, offers)
        return moved._replace(p=new_p, start=start)

    def _innermost(self, p: Value, g: Value, scalars: Mapping[str, Any], *, l2: bool) -> Moved:
        rule_g = g + scalars["weight_decay"] * p if l2 else g
        start = decay(p, self.settings, scalars)
        options = {name: scalars[name] for name in self.keywords}
        new_p, states = call_rule(self.rule, start, rule_g, self.buffers, options, self.trace)
        self.states |= states
        return Moved(new_p, start, g, states)

    def _enclose(
        self, around: Enclosing, p: Value, g: Value, scalars: Mapping[str, Any], position: int, *, after_l2: bool
    ) -> Moved:
        calls: list[Moved] = []

        def inner(p: Value, g: Value, *, denominator: Change | None = None, **changes: Any) -> Moved:
            if denominator is not None and self.trace.offers is not None:
                self.trace.offers.changes = [denominator, *self.trace.offers.changes]
            calls.append(self(p, g, {**scalars, **changes}, position + 1, after_l2=after_l2))
            return calls[-1]

        buffers = [replace(b, name=around.name_at(position, b.name)) for b in self.enclosing.get(position, ())]
        numbers = {name: scalars[qualified(position, name)] for name in around.numbers}
        options = around.keywords({**scalars, **numbers})
        new_p, states = call_rule(around.rule, p, g, buffers, options, self.trace, before=(inner,))
        if len(calls) != 1:
            raise RuleError(f"{around.rule.__qualname__} calls inner(p, g) {len(calls)} times instead of once")
        self.states |= states
        self.enclosed += buffers
        for buffer, mine in zip(self.enclosing.get(position, ()), buffers, strict=True):
            places = zip(mine.places, buffer.places.values(), strict=True)
            self.places |= {name: around.place_at(position, place) for name, place in places}
        # one that changes the update alone leaves the decay what it is, for transforms further outside
        kept = new_p.op == "sub" and new_p.args[0] is calls[0].start
        return calls[0]._replace(p=new_p, start=calls[0].start if kept else p)


def to_descend(g: Value, settings: CompositionSettings, scalars: Mapping[str, Any]) -> Value:
    """The gradient of what is to descend: unscaled, and turned with ``maximize``."""
    if scalars.get("grad_scale") is not None:
        g = g * (1 / scalars["grad_scale"])
    return -g if settings.maximize else g


def enter(
    p: Value, g: Value, transforms: Sequence[Transform], scalars: Mapping[str, Any], *, l2: bool = False
) -> tuple[Value, Value, bool]:
    """Parameter and gradient after transforms.

    Args:
        p, g: as they come in.
        transforms: the outermost first.
        scalars: the options.
        l2: True if an L2 term is still to be added to the gradient.

    Returns:
        The parameter, the gradient, and whether the L2 term is still to be added, since no transform asks for it.
    """
    for transform in transforms:
        if l2 and transform.after_l2:
            g, l2 = g + scalars["weight_decay"] * p, False
        g, p = transform.gradient(g, p), transform.parameter(p, scalars)
    return p, g, l2


def decay(p: Value, settings: CompositionSettings, scalars: Mapping[str, Any]) -> Value:
    """The parameter after decoupled decay."""
    if settings.decay != "decoupled" or not scalars["weight_decay"]:
        return p
    factor: Value = scalars["weight_decay"] if settings.fixed_decay else scalars["lr"] * scalars["weight_decay"]
    return p * (1 - factor)


def offers_of(settings: CompositionSettings) -> Offers:
    """An empty record of what the rule names, with the changes that the transforms make to denominators."""
    return Offers([t.denominator for t in reversed(settings.transforms) if t.overrides("denominator")])


def call_rule(
    rule: Callable[..., Any],
    p: Value,
    g: Value,
    buffers: Sequence[Buffer],
    options: Mapping[str, Any],
    trace: Trace,
    *,
    before: Sequence[Any] = (),
) -> tuple[Value, dict[str, Value]]:
    """The new parameter, and the new states by buffer; ``before`` is what the rule takes before its states.

    Raises:
        RuleError: the rule returns something else.
    """
    rule_name = rule.__qualname__
    result = rule(p, g, *before, *(buffer.symbols(trace) for buffer in buffers), **options)
    if result is None:
        names = ", ".join(["new_p", *(buffer.name for buffer in buffers if buffer.written)])
        raise RuleError(f"{rule_name} returns nothing: end it with `return {names}`, the new values in this order")
    returns = result if isinstance(result, tuple) else (result,)
    written = [buffer for buffer in buffers if buffer.written]
    if len(returns) != 1 + len(written):
        raise RuleError(f"{rule_name} returns {len(returns)} values instead of p and {len(written)} states")
    new_p = _fitting(rule_name, Buffer("p", Level.ELEMENT, written=True), "p", returns[0], trace)
    states: dict[str, Value] = {}
    for buffer, value in zip(written, returns[1:], strict=True):
        if buffer.present:
            values = [value] if buffer.copies is None else value
            if not isinstance(values, (list, tuple)) or len(values) != len(buffer.places):
                raise RuleError(f"{rule_name} returns {value!r} for {buffer.name!r}, a list of {buffer.copies} states")
            for name, v in zip(buffer.places, values, strict=True):
                states[name] = _fitting(rule_name, buffer, name, v, trace)
    return new_p, states


def _fitting(rule_name: str, buffer: Buffer, name: str, value: Any, trace: Trace) -> Value:
    """The symbol of what a rule returns for a buffer, which must fit into it."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return trace.constant(value)
    if not isinstance(value, Value):
        raise RuleError(f"{rule_name} returns {type(value).__name__} for {name!r} instead of its new value")
    if (value.level is Level.OWN) is not (buffer.level is Level.OWN):
        raise RuleError(
            f"{rule_name} returns {value!r} for {name!r}: a state with a shape of its own takes what a function of "
            "stacks returns as 'own', and nothing else does"
        )
    if value.level < buffer.level:
        level, finer = buffer.level.name.lower(), value.level.name.lower()
        remedy = "total(...)" if buffer.level is Level.WHOLE else "norm, dot, mean or amax"
        raise RuleError(
            f"{rule_name} returns one number per {finer} for {name!r}, which has one per {level}: reduce it "
            f"({remedy}), or declare the state with level={finer!r}"
        )
    if buffer.level is Level.ELEMENT and value.level <= Level.ROW and value.every != buffer.every:
        raise RuleError(
            f"{rule_name} returns every {value.every}th element for {name!r}, which holds every {buffer.every}th: "
            "sample(...) goes with state(every=...)"
        )
    return trace.number(value)


def transform_update(
    p: Value, new_p: Value, g: Value, transforms: Sequence[Transform], scalars: Mapping[str, Any], offers: Offers
) -> tuple[Value, Value]:
    """Parameter and new parameter after transforms have decayed it and changed the update, the innermost first."""
    for transform in transforms:
        start = transform.decay(p, scalars, offers)
        if start is not p:
            p, new_p = start, start - update_of(p, new_p)
    for transform in reversed(transforms):
        if transform.overrides("update"):
            new_p = p - transform.update(update_of(p, new_p), g, p)
    return p, new_p


def keep(
    new_p: Value, settings: CompositionSettings, scalars: Mapping[str, Any], trace: Trace
) -> tuple[dict[str, Value], dict[str, Place]]:
    """The new values of what transforms keep, by buffer; and where those are found."""
    outputs: dict[str, Value] = {}
    places: dict[str, Place] = {}
    for position, transform in enumerate(settings.transforms):
        mine = {qualified(position, name): Place(name, transform=position) for name in transform.keeps}
        numbers = {name: scalars[qualified(position, name)] for name in transform.numbers}
        old = [trace.input(name, Level.ELEMENT) for name in mine]
        outputs |= zip(mine, transform.keep(new_p, old, {**scalars, **numbers}), strict=True)
        places |= mine
    return outputs, places


def _check_totals(rule: Callable[..., Any], trace: Trace, settings: CompositionSettings) -> None:
    if trace.calls and trace.totals:
        names = ", ".join(type(t).__name__ for t in settings.transforms if t is not IDENTITY)
        raise RuleError(
            f"{rule.__qualname__}{f' with {names}' if names else ''}: total(...) does not go with functions of stacks, "
            "which see some of the parameters at a time"
        )


def sort_by_level(
    outputs: Mapping[str, Value], extents: Mapping[str, Extent], places: Mapping[str, Place], trace: Trace
) -> Graph:
    """The graph of what changes: states of the whole model and in shapes of their own stand apart."""
    changes = {name: v for name, v in outputs.items() if not (v.op == "input" and v.name == name)}
    whole = {name: v for name, v in changes.items() if extents[name].level is Level.WHOLE}
    own = {name: v for name, v in changes.items() if extents[name].level is Level.OWN}
    local = {name: v for name, v in changes.items() if name not in whole and name not in own}
    return Graph(local, whole, trace, {name: extents[name] for name in local}, own, places)
