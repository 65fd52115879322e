"""TransformWrapper: a transform of gradients, parameters or updates, as a wrapper for any optimizer."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from optim_core.engines.bucket import Bucket
from optim_core.engines.run import run
from optim_core.engines.tensors import compute_dtype, real
from optim_core.errors import UnsupportedParameter, WrapperConflict
from optim_core.optimizers.explanation import Explanation
from optim_core.optimizers.gradients import check_dense
from optim_core.optimizers.optimizer import RuleOptimizer
from optim_core.rules.compose import Settings, decayed, entering, offers_of, transformed, update_of
from optim_core.rules.graph import Graph, Home
from optim_core.rules.options import scalars, split
from optim_core.rules.transform import Transform, acting
from optim_core.rules.values import Level, Trace, Value
from optim_core.wrapping.torch_rules import Reading, reading_of
from optim_core.wrapping.wrapper import Wrapper


class TransformWrapper(Wrapper):
    """A wrapper that is a :class:`~optim_core.rules.Transform`.

    Around a RuleOptimizer the transform is composed with the rule and costs no pass over memory. Around any other
    torch optimizer it works on copies right before and after its step, with the same numbers, whatever wrappers stand
    between; the user's ``p.grad`` is put back. There L2 is the base's own affair, so no transform sees it in the
    gradient; the update is all that the base has done to a parameter, except for decoupled weight decay where the group
    has torch's ``decoupled_weight_decay=True`` (AdamW). What acts on a denominator or a second moment works around
    those of torch's optimizers whose state tells it, and rescales the update after the step.
    """

    #: Whether complex parameters are refused.
    real_only: ClassVar[bool] = False

    def spares(self, name: str) -> bool:
        """Whether a parameter of this name is left alone."""
        del name
        return False

    @property
    def uses_lr(self) -> bool:
        """Whether the transform needs a learning rate in every group."""
        return False

    def transform(self) -> Transform:
        """The transform that the options describe."""
        raise NotImplementedError

    def on_wrap(self) -> None:
        """Compose with the rule if there is one, else with the transforms that are there, else begin."""
        self._spared: set[Tensor] = set()
        super().on_wrap()
        mine = self.transform()
        self._graphs: dict[Hashable, list[_Surroundings]] = {}
        self._transforms: tuple[Transform, ...] = ()
        self._spared_by: dict[Transform, Collection[Tensor]] = {}
        inner, nearest = self.innermost, self._nearest
        if isinstance(inner, RuleOptimizer) and _acts_inside(mine):
            inner.add_transform(mine, excluded=self._spared)
        elif isinstance(nearest._stepping, TransformWrapper):
            nearest._stepping._take(mine, self._spared)
        elif isinstance(inner, RuleOptimizer) and not (_sums(mine, inner) and inner.stacks()):
            inner.add_transform(mine, excluded=self._spared)
        else:
            nearest._stepping = self
            self._take(mine, self._spared)

    def _take(self, transform: Transform, spared: Collection[Tensor]) -> None:
        """Step with a transform, which a gradient passes before those already there."""
        self._transforms = (transform, *self._transforms)
        self._spared_by = {**self._spared_by, transform: spared}

    @property
    def _nearest(self) -> Wrapper:
        """The wrapper next to the innermost optimizer."""
        wrapper: Wrapper = self
        while isinstance(wrapper.base, Wrapper):
            wrapper = wrapper.base
        return wrapper

    def on_group(self, group: dict[str, Any]) -> None:
        """Refuse what the transform makes no sense for.

        Raises:
            UnsupportedParameter: a parameter is complex.
            WrapperConflict: the group has no learning rate.
        """
        super().on_group(group)
        if self.real_only and any(p.is_complex() for p in group["params"]):
            raise UnsupportedParameter(
                f"{self.method.name} works on real parameters: keep complex ones in an optimizer of their own"
            )
        if self.uses_lr and group.get("lr") is None:
            raise WrapperConflict(
                f"{self.method.name} goes by the learning rate, but {type(self.innermost).__name__} has lr=None: give "
                "it a number"
            )
        names = group.get("param_names", ())
        self._spared.update(p for p, name in zip(group["params"], names, strict=False) if self.spares(name))

    def explain(self) -> Explanation:
        """As a wrapper's, but what is left alone has other wrappers only."""
        rows = super().explain()
        return Explanation(
            tuple(replace(row, wrappers=row.wrappers[:-1]) if self.spares(row.name) else row for row in rows)
        )

    def step_innermost(self) -> None:
        """Step with transformed gradients.

        Raises:
            SparseGradient: before anything is changed.
        """
        parts = self._parts()
        for part in parts:
            if "gradient" in part.around.before.outputs:
                part.seen = [torch.empty_like(p) for p in part.params]
        run([part.before() for part in parts if _acts(part.around.before)], {})
        followed = [part for part in parts if _acts(part.around.after)]
        for part in followed:
            part.old = [p.detach().clone() for p in part.params]
        try:
            for part in parts:
                part.lend(part.seen or part.gradients)
            super().step_innermost()
        finally:
            for part in parts:
                part.lend(part.gradients)
        run([part.after() for part in followed], {})

    def _parts(self) -> Sequence[_Part]:
        """The parameters that have a gradient: those together that share graphs and numbers."""
        parts: dict[Hashable, _Part] = {}
        state, reading = self.innermost.state, self._reading
        for group in self.param_groups:
            settings, options = _of_group(self.innermost, group, self._transforms, reading)
            present = [p for p in group["params"] if p.grad is not None]
            counts = reading is not None and reading.counts
            steps = [n + 1 for n in _steps_done(present, state)] if counts else [0] * len(present)
            numbers = {n: options | ({"step": n} if counts else {}) for n in set(steps)}
            splits = {n: split(numbers[n]) for n in numbers}
            for p, step in zip(present, steps, strict=True):
                check_dense(p, self.method.name)
                if p.numel():
                    host, fixed = splits[step]
                    mine = replace(settings, transforms=acting(self._transforms, self._spared_by, p))
                    around = self._surroundings((mine, fixed), host, numbers[step], real(p).shape)
                    key = id(group), id(around), step, p.dtype, p.grad.dtype, p.device
                    part = parts.setdefault(key, _Part(around, host, state, [], []))
                    part.params.append(p)
                    part.gradients.append(p.grad)
        return list(parts.values())

    @property
    def _reading(self) -> Reading | None:
        """How to read the innermost optimizer, if a transform acts on what it divides by."""
        return reading_of(type(self.innermost)) if any(map(_acts_inside, self._transforms)) else None

    def _surroundings(
        self, key: tuple[Settings, Hashable], host: Mapping[str, float], options: Mapping[str, Any], shape: torch.Size
    ) -> _Surroundings:
        known = self._graphs.setdefault(key, [])
        for around in known:
            if around.fits(host, shape):
                return around
        known.append(_surroundings(key[0], host, options, shape, self._reading))
        return known[-1]

    def __getstate__(self) -> dict[str, Any]:
        kept = ("_transforms", "_spared_by", "_spared")
        return super().__getstate__() | {name: getattr(self, name) for name in kept} | {"_graphs": {}}


@dataclass(frozen=True, eq=False)
class _Surroundings:
    """What comes before a step and after it.

    The first graph turns ``p`` and ``g`` into the ``p`` and ``gradient`` that the base steps with. The second one
    turns the base's ``p``, that gradient ``g`` and the parameter before its step, ``old``, into the ``p`` to keep; it
    may read the base's state, as it is after the step.
    """

    before: Graph
    after: Graph

    def fits(self, host: Mapping[str, float], shape: Sequence[int]) -> bool:
        """Whether the graphs hold for such numbers and such a shape."""
        return all(g.trace.holds(host) and g.trace.fits(shape) for g in (self.before, self.after))


def _surroundings(
    settings: Settings,
    host: Mapping[str, float],
    options: Mapping[str, Any],
    shape: Sequence[int],
    reading: Reading | None = None,
) -> _Surroundings:
    trace = Trace(host, shape)
    p, g = (trace.input(name, Level.ELEMENT) for name in "pg")
    # the base's decay is the base's affair, and it turns the sign of the gradient itself
    p, g, _ = entering(p, g, replace(settings, decay=None), scalars(options, trace))
    if settings.maximize:
        g = g.args[0] if g.op == "neg" else -g
    changed = {name: v for name, v in {"p": p, "gradient": g}.items() if v.op != "input"}

    later = Trace(host, shape)
    old, new_p, g = (later.input(name, Level.ELEMENT) for name in ("old", "p", "g"))
    numbers = scalars(options, later)
    start = decayed(old, settings, numbers)
    later.offers = offers_of(settings)
    if reading is not None:
        reading(later, options)
    moved = new_p
    for divided, wanted in later.offers.denominators:
        if wanted is not divided:
            moved = start - update_of(start, moved) * (divided / wanted)
    kept = transformed(start, moved, -g if settings.maximize else g, settings, numbers, later.offers)
    return _Surroundings(_graph(changed, trace), _graph({} if kept is new_p else {"p": kept}, later))


def _acts_inside(transform: Transform) -> bool:
    """Whether a transform acts on what the method names in its rule, rather than on what goes in or comes out."""
    kind = type(transform)
    return kind.denominator is not Transform.denominator or kind.decayed is not Transform.decayed


def _graph(outputs: Mapping[str, Value], trace: Trace) -> Graph:
    return Graph(outputs, {}, trace, dict.fromkeys(outputs, Home(Level.ELEMENT)))


def _acts(graph: Graph) -> bool:
    """Whether there is anything to do; a sum counts, since other parameters may need it."""
    return bool(graph.outputs or graph.trace.totals)


#: What a part has itself; other buffers are states of the base.
_OWN = frozenset({"p", "g", "old"})


@dataclass(eq=False)
class _Part:
    """Parameters that share graphs and numbers, on their way through a step.

    Attributes:
        around: the graphs.
        host: the numbers behind their HOST inputs.
        state: the base's.
        params, gradients: the parameters and their own gradients.
        seen: the gradients that the base steps with, if others.
        old: the parameters before the base's step, if they are needed after it.
    """

    around: _Surroundings
    host: Mapping[str, float]
    state: Mapping[Tensor, Mapping[str, Any]]
    params: list[Tensor]
    gradients: list[Tensor]
    seen: list[Tensor] = field(default_factory=list)
    old: list[Tensor] = field(default_factory=list)

    def before(self) -> Bucket:
        """The work before the base's step."""
        return self._bucket(self.around.before, g=self.gradients, gradient=self.seen)

    def after(self) -> Bucket:
        """The work after it."""
        graph = self.around.after
        states = {name: [self.state[p][name] for p in self.params] for name in graph.buffers if name not in _OWN}
        return self._bucket(graph, g=self.seen or self.gradients, old=self.old, **states)

    def lend(self, gradients: Sequence[Tensor]) -> None:
        """Put gradients into the parameters."""
        for p, g in zip(self.params, gradients, strict=True):
            p.grad = g

    def _bucket(self, graph: Graph, **buffers: Sequence[Tensor]) -> Bucket:
        views = {name: [real(x.detach()) for x in tensors] for name, tensors in {"p": self.params, **buffers}.items()}
        return Bucket(graph, self.host, views, compute_dtype(views["p"][0]))


def _steps_done(params: Sequence[Tensor], state: Mapping[Tensor, Mapping[str, Any]]) -> list[int]:
    """How many steps each parameter has had; counts on a device are fetched together."""
    counts = [state[p].get("step", 0) if p in state else 0 for p in params]
    tensors = {i: count for i, count in enumerate(counts) if isinstance(count, Tensor)}
    fetched: dict[int, float] = {}
    for device in {x.device for x in tensors.values()}:
        here = [i for i, x in tensors.items() if x.device == device]
        fetched |= zip(here, torch.stack([tensors[i].reshape(()) for i in here]).tolist(), strict=True)
    return [int(fetched.get(i, count)) for i, count in enumerate(counts)]


def _of_group(
    inner: Optimizer, group: Mapping[str, Any], transforms: tuple[Transform, ...], reading: Reading | None = None
) -> tuple[Settings, dict[str, Any]]:
    """What the composition needs of a group, and the options that transforms see."""
    if isinstance(inner, RuleOptimizer):
        return inner.method.composition_settings(group, transforms), {name: group[name] for name in inner.hypers}
    decays = group.get("decoupled_weight_decay", isinstance(inner, torch.optim.AdamW))
    settings = Settings(
        "decoupled" if decays else None,
        fixed_decay=False,
        maximize=bool(group.get("maximize", False)),
        transforms=transforms,
    )
    names = ("lr", "weight_decay", *(() if reading is None else reading.options))
    return settings, {name: group[name] for name in names if group.get(name) is not None}


def _sums(transform: Transform, inner: RuleOptimizer) -> bool:
    """Whether a transform sums over all parameters."""
    settings, options = _of_group(inner, inner.param_groups[0], (transform,))
    around = _surroundings(settings, split(options)[0], options, (2, 2))
    return bool(around.before.trace.totals or around.after.trace.totals)
