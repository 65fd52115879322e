"""Transforms around the step of an optimizer whose rule they cannot join: on copies, right before and right after it.

Before the step each transform sees the gradients and parameters, and the optimizer steps with what it makes of them.
After the step it sees what the optimizer has subtracted from each parameter. The user's ``p.grad`` is put back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from optim_core.engines.bucket import Bucket
from optim_core.engines.run import run
from optim_core.engines.tensors import as_pairs, compute_dtype, shape_of
from optim_core.errors import SpecError
from optim_core.methods.composition import Composition
from optim_core.methods.graph_cache import GraphCache
from optim_core.optimizers.gradients import check_dense
from optim_core.rules import Level, Trace, Transform, Value
from optim_core.rules.compose import CompositionSettings, decay, enter, offers_of, to_descend, transform_update
from optim_core.rules.enclosing import update_of
from optim_core.rules.graph import Extent, Graph, reach
from optim_core.rules.options import LATE, scalars, split
from optim_core.wrapping.base_state import BaseState
from optim_core.wrapping.plain_rules import PlainRule, plain_rule_of
from optim_core.wrapping.trail import Trail

#: From a group and transforms to the settings for the composition, and the options that the transforms see.
SettingsOf: TypeAlias = Callable[[Mapping[str, Any], tuple[Transform, ...]], tuple[CompositionSettings, dict[str, Any]]]


class Around:
    """Transforms around the step of an optimizer."""

    def __init__(self) -> None:
        self.composition = Composition()
        self._owner = ""
        self._passes = GraphCache(Passes.fit)

    def add(self, transform: Transform, excluded: Collection[Tensor], owner: str) -> None:
        """Add a transform, which a gradient passes before those already there.

        Args:
            transform: the transform.
            excluded: parameters that it leaves alone; more may join later, together with their group.
            owner: the wrapper that it belongs to, for messages.
        """
        self.composition.add(transform, excluded=excluded)
        self._owner = self._owner or owner

    def step(self, base: BaseState, settings_of: SettingsOf, inner: Callable[[], Any], trail: Trail) -> None:
        """Step with transformed gradients.

        Args:
            base: what steps.
            settings_of: tells how groups decay, and which of their options transforms see.
            inner: does the step with the gradients that are there.
            trail: what layers inside have left, and those outside go by.

        Raises:
            SparseGradient: before anything is changed.
        """
        inside = trail.is_inside(self)
        parts = self._parts(base.optimizer, settings_of, inside=inside, followed=trail.active)
        for part in parts:
            if "gradient" in part.passes.before.outputs:
                part.transformed = [torch.empty_like(p) for p in part.params]
        run([part.before() for part in parts if _does_anything(part.passes.before)], {})
        followed = [part for part in parts if _does_anything(part.passes.after)]
        for part in followed:
            part.old = [p.detach().clone() for p in part.params]
        try:
            for part in parts:
                part.set_gradients(part.transformed or part.gradients)
            inner()
        finally:
            for part in parts:
                part.set_gradients(part.gradients)
        run([part.after(trail) for part in followed], {})

    def _parts(self, optimizer: Optimizer, settings_of: SettingsOf, *, inside: bool, followed: bool) -> Sequence[Part]:
        """The parameters that have a gradient: those together that share graphs and numbers."""
        parts: dict[Hashable, Part] = {}
        state, rule = optimizer.state, self._rule_of(optimizer)
        for group in optimizer.param_groups:
            settings, options = settings_of(group, self.composition.transforms)
            if rule is not None:
                options = options | {name: group[name] for name in rule.options if group.get(name) is not None}
            present = [p for p in group["params"] if p.grad is not None]
            counts = rule is not None and rule.takes_step
            steps = [n + 1 for n in _steps_done(present, state, group)] if counts else [0] * len(present)
            numbers = {n: options | ({"step": n} if counts else {}) for n in set(steps)}
            splits = {n: split(numbers[n]) for n in numbers}
            for p, step in zip(present, steps, strict=True):
                check_dense(p, self._owner)
                if p.numel():
                    host, fixed = splits[step]
                    mine = replace(settings, transforms=self.composition.acting_on(p))
                    key = (mine, fixed, inside, followed)
                    passes = self._passes_for(key, host, numbers[step], shape_of(p), rule)
                    alike = id(group), id(passes), step, p.dtype, p.grad.dtype, p.device
                    part = parts.setdefault(alike, Part(passes, host, state, [], []))
                    part.params.append(p)
                    part.gradients.append(p.grad)
        return list(parts.values())

    def _rule_of(self, optimizer: Optimizer) -> PlainRule | None:
        """The optimizer's, if a transform acts on what it divides by."""
        return plain_rule_of(type(optimizer)) if any(map(acts_inside, self.composition.transforms)) else None

    def _passes_for(
        self,
        key: tuple[CompositionSettings, Hashable, bool, bool],
        host: Mapping[str, float],
        options: Mapping[str, Any],
        shape: Sequence[int],
        rule: PlainRule | None,
    ) -> Passes:
        def make() -> Passes:
            settings, _, inside, followed = key
            how = (settings, host, options, shape)
            return Passes(before(*how), after(*how, rule=rule, inside=inside, followed=followed))

        return self._passes.get(key, host, shape, make)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_passes": GraphCache(Passes.fit)}


@dataclass(frozen=True, eq=False)
class Passes:
    """The work on copies before a step, and after it: see :func:`before` and :func:`after`."""

    before: Graph
    after: Graph

    def fit(self, host: Mapping[str, float], shape: Sequence[int]) -> bool:
        """Return True if both graphs hold for such numbers and such a shape."""
        return all(g.trace.holds(host) and g.trace.fits(shape) for g in (self.before, self.after))


def before(
    settings: CompositionSettings, host: Mapping[str, float], options: Mapping[str, Any], shape: Sequence[int]
) -> Graph:
    """The graph that turns ``p`` and ``g`` into the ``p`` and ``gradient`` with which the optimizer steps."""
    trace = Trace(host, shape)
    p, g = (trace.input(name, Level.ELEMENT) for name in "pg")
    # the optimizer adds its own decay, and turns the sign of the gradient itself
    p, g, _ = enter(p, to_descend(g, settings, options), settings.transforms, scalars(options, trace))
    if settings.maximize:
        g = g.args[0] if g.op == "neg" else -g
    return _graph({name: v for name, v in {"p": p, "gradient": g}.items() if v.op != "input"}, trace)


def after(
    settings: CompositionSettings,
    host: Mapping[str, float],
    options: Mapping[str, Any],
    shape: Sequence[int],
    *,
    rule: PlainRule | None = None,
    inside: bool = False,
    followed: bool = False,
) -> Graph:
    """The graph that turns the ``p`` that the optimizer has left into the final one.

    It takes the gradient ``g`` of that step and the parameter before it, ``old``; with a rule also states of the
    optimizer, as they are after the step. If a rule is inside, it takes what that has left in the trail; it writes
    the start there, too, if others follow.
    """
    trace = Trace(host, shape)
    old, p, g = (trace.input(name, Level.ELEMENT) for name in ("old", "p", "g"))
    numbers = scalars(options, trace)
    start = first = trace.input("start", Level.ELEMENT) if inside else decay(old, settings, numbers)
    trace.offers = offers_of(settings)
    if rule is not None:
        rule(trace, options)
    moved = p
    for divided, wanted in trace.offers.denominators:
        if wanted is not divided:
            moved = start - update_of(start, moved) * (divided / wanted)
    descended = to_descend(trace.input("seen", Level.ELEMENT) if inside else g, settings, {})
    start, new_p = transform_update(start, moved, descended, settings.transforms, numbers, trace.offers)
    outputs = {} if new_p is p else {"p": new_p}
    return _graph(outputs | ({"start": start} if followed and start is not first else {}), trace)


def _graph(outputs: Mapping[str, Value], trace: Trace) -> Graph:
    return Graph(outputs, {}, trace, dict.fromkeys(outputs, Extent(Level.ELEMENT)))


def _does_anything(graph: Graph) -> bool:
    """A graph without outputs that sums counts as well, since other parameters may need its sum."""
    return bool(graph.outputs or graph.trace.totals)


def sums(settings: CompositionSettings, options: Mapping[str, Any]) -> bool:
    """Return True if the transforms in ``settings`` sum over all parameters."""
    host = split(options)[0]
    graphs = (make(settings, host, options, (2, 2)) for make in (before, after))
    return any(graph.trace.totals for graph in graphs)


def reach_around(optimizer: Optimizer, settings: CompositionSettings, options: Mapping[str, Any]) -> Level:
    """How far what the transforms in ``settings`` make of an element depends on others."""
    rule = plain_rule_of(type(optimizer)) if any(map(acts_inside, settings.transforms)) else None
    if rule is not None:
        options = {**options, **{name: optimizer.defaults[name] for name in rule.options}, "step": LATE}
    host = split(options)[0]
    graphs = before(settings, host, options, (2, 3)), after(settings, host, options, (2, 3), rule=rule)
    return max(map(reach, graphs))


def acts_inside(transform: Transform) -> bool:
    """Return True if a transform acts on what a method names in its rule, not on what goes in or comes out."""
    return transform.overrides("denominator", "decay")


#: Buffers that a part has itself; others are states of the optimizer.
_OWN = frozenset({"p", "g", "old", "start", "seen"})


@dataclass(eq=False)
class Part:
    """Parameters that share graphs and numbers, on their way through a step.

    Attributes:
        passes: the graphs.
        host: the numbers behind their HOST inputs.
        state: the optimizer's.
        params, gradients: the parameters and their own gradients.
        transformed: the gradients with which the optimizer steps, if others.
        old: the parameters before its step, if they are needed after it.
    """

    passes: Passes
    host: Mapping[str, float]
    state: Mapping[Tensor, Mapping[str, Any]]
    params: list[Tensor]
    gradients: list[Tensor]
    transformed: list[Tensor] = field(default_factory=list)
    old: list[Tensor] = field(default_factory=list)

    def before(self) -> Bucket:
        """The work before the optimizer's step."""
        return self._bucket(self.passes.before, g=self.gradients, gradient=self.transformed)

    def after(self, trail: Trail) -> Bucket:
        """The work after it."""
        graph = self.passes.after
        states = {name: [self._state(p, name) for p in self.params] for name in graph.buffers if name not in _OWN}
        own = {"g": self.transformed or self.gradients, "old": self.old, **trail.columns(self.params)}
        return self._bucket(graph, **own, **states)

    def _state(self, p: Tensor, name: str) -> Tensor:
        """A state of the optimizer after its step, which the spec of a plain class has promised.

        Raises:
            SpecError: there is none in the parameter's shape.
        """
        kept = self.state[p].get(name) if p in self.state else None
        if isinstance(kept, Tensor) and kept.shape == p.shape:
            return kept
        found = ", ".join(f"{k} {tuple(x.shape)}" for k, x in self.state.get(p, {}).items() if isinstance(x, Tensor))
        raise SpecError(
            f"what the optimizer's spec offers goes by a state {name!r} of the parameter's shape {tuple(p.shape)}, but "
            f"the optimizer keeps {found or 'none'}: tell the authors of its pack"
        )

    def set_gradients(self, gradients: Sequence[Tensor]) -> None:
        """Put gradients into the parameters."""
        for p, g in zip(self.params, gradients, strict=True):
            p.grad = g

    def _bucket(self, graph: Graph, **buffers: Sequence[Tensor]) -> Bucket:
        views = {
            name: [as_pairs(x.detach(), p) for x, p in zip(tensors, self.params, strict=True)]
            for name, tensors in {"p": self.params, **buffers}.items()
            if tensors
        }
        return Bucket(graph, self.host, views, compute_dtype(views["p"][0]))


def _steps_done(
    params: Sequence[Tensor], state: Mapping[Tensor, Mapping[str, Any]], group: Mapping[str, Any]
) -> list[int]:
    """How many steps each parameter has had, or its group; counts on a device are fetched together."""
    of_group = group.get("step", 0)  # where classes of other libraries count
    counts = [state[p].get("step", of_group) if p in state else of_group for p in params]
    tensors = {i: count for i, count in enumerate(counts) if isinstance(count, Tensor)}
    fetched: dict[int, float] = {}
    for device in {x.device for x in tensors.values()}:
        here = [i for i, x in tensors.items() if x.device == device]
        fetched |= zip(here, torch.stack([tensors[i].reshape(()) for i in here]).tolist(), strict=True)
    return [int(fetched.get(i, count)) for i, count in enumerate(counts)]
