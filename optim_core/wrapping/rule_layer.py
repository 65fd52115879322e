"""A rule around the step of an optimizer that has none: what comes before its step, and what comes after it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Hashable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from optim_core.engines.bucket import Bucket
from optim_core.engines.run import run
from optim_core.engines.tensors import as_pairs, compute_dtype, shape_of
from optim_core.errors import WrapperConflict
from optim_core.methods.composition import WeakKeeper
from optim_core.methods.graph_cache import GraphCache
from optim_core.methods.part import Part
from optim_core.methods.states import key_of
from optim_core.optimizers.gradients import check_dense
from optim_core.rules import Level, Trace, Value
from optim_core.rules.compose import Buffer, CompositionSettings, call_rule, decay, to_descend
from optim_core.rules.enclosing import Moved
from optim_core.rules.graph import Extent, Graph, reach
from optim_core.rules.options import scalars, split
from optim_core.rules.transform import Keeper
from optim_core.wrapping.around import Passes, SettingsOf
from optim_core.wrapping.base_state import BaseState
from optim_core.wrapping.trail import Trail


class RuleLayer:
    """A rule around a step.

    Args:
        part: the rule.
        excluded: parameters that it leaves alone.
        owner: the wrapper that it belongs to, for messages.
        keeper: the wrapper.
    """

    def __init__(self, part: Part, excluded: Collection[Tensor], owner: str, keeper: Keeper) -> None:
        self.part = part
        self._excluded = excluded
        self._owner = owner
        self._keeper = WeakKeeper(keeper)
        self._passes: GraphCache[RulePasses] = GraphCache(RulePasses.fit)

    def step(self, base: BaseState, settings_of: SettingsOf, inner: Callable[[], Any], trail: Trail) -> None:
        """Step by calling ``inner``, which steps with the gradients that are there, and leaves what it knows.

        Raises:
            SparseGradient: before anything is changed.
        """
        members = self._members(base, settings_of, inside=trail.is_inside(self))
        run([member.before() for member in members], {})
        try:
            for member in members:
                member.set_gradients(member.transformed)
            inner()
        finally:
            for member in members:
                member.set_gradients(member.gradients)
        run([member.after(trail) for member in members], {})
        for member in members:
            if not member.passes.keeps_start:
                trail.starts.update(zip(member.params, member.old, strict=True))

    def begin(self, base: BaseState) -> None:
        """Create the states of parameters that have a gradient, from what these are before any layer acts."""
        for group in base.optimizer.param_groups:
            for p, _ in self._present(group):
                check_dense(p, self._owner)
                self.part.begin(base.state_of(p), self._keeper.kept, p, afresh=self._keeper.begins_with(p))

    def _present(self, group: Mapping[str, Any]) -> list[tuple[Tensor, Tensor]]:
        """The parameters that the rule acts on, with their gradients."""
        pairs = [(p, p.grad) for p in group["params"] if p not in self._excluded and p.numel()]
        return [(p, g) for p, g in pairs if g is not None]

    def _members(self, base: BaseState, settings_of: SettingsOf, *, inside: bool) -> Sequence[_Members]:
        members: dict[Hashable, _Members] = {}
        for group in base.optimizer.param_groups:
            settings, options = settings_of(group, ())
            options = {**options, **self._keeper.numbers()}
            host, fixed = split(options)
            for p, g in self._present(group):
                shape = shape_of(p)
                make = functools.partial(passes, self.part, settings, host, options, shape, self._owner, inside=inside)
                found = self._passes.get((settings, fixed, inside), host, shape, make)
                key = id(group), id(found), p.dtype, g.dtype, p.device
                member = members.setdefault(key, _Members(found, host, self._keeper.kept))
                member.add(p, g, base.state_of(p))
        return list(members.values())

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_passes": GraphCache(RulePasses.fit)}


@dataclass(frozen=True, eq=False)
class RulePasses(Passes):
    """The graphs of a rule around a step, and whether its update is subtracted from the start that the step has."""

    keeps_start: bool


def passes(
    part: Part,
    settings: CompositionSettings,
    host: Mapping[str, float],
    options: Mapping[str, Any],
    shape: tuple[int, ...],
    owner: str,
    *,
    inside: bool = False,
) -> RulePasses:
    """The graphs of a rule up to the call of ``inner``, and from there on.

    The second takes the parameter before the step, ``old``, the gradient as it came in, ``g``, and the states as they
    were; and writes the parameter as ``inner`` has left it, ``p``, and the states. If something is inside, it takes
    what that has left in the trail, too.
    """
    how = (part, settings, host, options, shape, owner)
    (before, _), (after, keeps) = (_half(*how, first=first, inside=inside) for first in (True, False))
    return RulePasses(before, after, keeps)


def reach_of_layer(part: Part, settings: CompositionSettings, options: Mapping[str, Any]) -> Level:
    """How far what the rule makes of an element depends on others."""
    options = {**options, **dict.fromkeys(part.numbers, 0.5)}
    both = passes(part, settings, split(options)[0], options, (2, 3), part.method.name)
    return max(reach(both.before), reach(both.after))


def _half(
    part: Part,
    settings: CompositionSettings,
    host: Mapping[str, float],
    options: Mapping[str, Any],
    shape: tuple[int, ...],
    owner: str,
    *,
    first: bool,
    inside: bool,
) -> tuple[Graph, bool]:
    """The graph of a half, and whether the update is still subtracted from the start that ``inner`` has left."""
    trace = Trace(host, shape)
    numbers = scalars(options, trace)
    given: list[tuple[Value, Value, Moved]] = []
    left = trace.input("left", Level.ELEMENT) if first else trace.input("p", Level.ELEMENT)
    old = trace.input("p" if first else "old", Level.ELEMENT)

    def inner(p: Value, g: Value, **changes: Any) -> Moved:
        if changes:
            raise WrapperConflict(
                f"{owner} calls the rule inside with {', '.join(changes)} of its own, and there is none"
            )
        start, seen = (trace.input(name, Level.ELEMENT) for name in ("start", "seen")) if inside else (None, None)
        moved = Moved(
            left,
            decay(p, settings, numbers) if start is None else start,
            g if seen is None else to_descend(seen, settings, {}),
        )
        given.append((p, g, moved))
        return moved

    buffers = part.buffers(options, shape)
    g = to_descend(trace.input("g", Level.ELEMENT), settings, {})
    new_p, states = call_rule(part.rule, old, g, buffers, part.keywords(numbers), trace, before=(inner,))
    if trace.totals:
        raise WrapperConflict(f"{owner} sums over all parameters, which goes around methods of optim-core only")
    p, g, moved = given[0]
    outputs = {"p": p, "gradient": to_descend(g, settings, {})} if first else {"p": new_p, **states}
    return _graph(outputs, buffers, trace), new_p is left or (new_p.op == "sub" and new_p.args[0] is moved.start)


def _graph(outputs: Mapping[str, Value], buffers: Sequence[Buffer], trace: Trace) -> Graph:
    changed = {name: v for name, v in outputs.items() if not (v.op == "input" and v.name == name)}
    extents = {name: buffer.extent for buffer in buffers for name in buffer.places}
    places = {name: place for buffer in buffers for name, place in buffer.places.items()}
    homes = {name: extents.get(name, Extent(Level.ELEMENT)) for name in changed}
    return Graph(changed, {}, trace, homes, places=places)


@dataclass(eq=False)
class _Members:
    """Parameters that share graphs and numbers, on their way through a step."""

    passes: RulePasses
    host: Mapping[str, float]
    kept: str
    params: list[Tensor] = field(default_factory=list)
    gradients: list[Tensor] = field(default_factory=list)
    transformed: list[Tensor] = field(default_factory=list)
    old: list[Tensor] = field(default_factory=list)
    states: list[MutableMapping[str, Any]] = field(default_factory=list)

    def add(self, p: Tensor, g: Tensor, states: MutableMapping[str, Any]) -> None:
        """Add a parameter, its gradient and its states."""
        self.params.append(p)
        self.gradients.append(g)
        self.transformed.append(torch.empty_like(p))
        self.old.append(p.detach().clone())
        self.states.append(states)

    def before(self) -> Bucket:
        """The work before the step."""
        graph = self.passes.before
        if "gradient" not in graph.outputs:
            self.transformed = self.gradients
        return self._bucket(graph, g=self.gradients, gradient=self.transformed)

    def after(self, trail: Trail) -> Bucket:
        """The work after it."""
        return self._bucket(self.passes.after, g=self.gradients, old=self.old, **trail.columns(self.params))

    def set_gradients(self, gradients: Sequence[Tensor]) -> None:
        """Put gradients into the parameters."""
        for p, g in zip(self.params, gradients, strict=True):
            p.grad = g

    def _bucket(self, graph: Graph, **buffers: Sequence[Tensor]) -> Bucket:
        columns: dict[str, Sequence[Tensor]] = {"p": self.params, **buffers}
        for name in graph.buffers.keys() - columns.keys():
            place = graph.place(name)
            key = self.kept + key_of(place.name, place.position)
            columns[name] = [own[key] for own in self.states]
        views = {
            name: [as_pairs(x.detach(), p) for x, p in zip(tensors, self.params, strict=True)]
            for name, tensors in columns.items()
        }
        return Bucket(graph, self.host, views, compute_dtype(views["p"][0]))
