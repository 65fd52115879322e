"""How optimizers that are not wrappers do what a wrapper asks of its base."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from optim_core.catalog.needs import Need
from optim_core.errors import WrapperConflict
from optim_core.methods.formula import Formula, ParameterSet
from optim_core.methods.part import Part
from optim_core.optimizers import closures
from optim_core.optimizers.checkpoint import LoadResult, Options
from optim_core.optimizers.gradients import parameters
from optim_core.optimizers.matching import Rename
from optim_core.optimizers.needs import declared_needs, has_modes, needs_of
from optim_core.optimizers.optimizer import RuleOptimizer
from optim_core.rules import Level, Transform
from optim_core.rules.compose import CompositionSettings
from optim_core.rules.transform import Keeper
from optim_core.wrapping.around import Around, acts_inside, reach_around, sums
from optim_core.wrapping.base_state import BaseState, NotBegun
from optim_core.wrapping.rule_layer import RuleLayer, reach_of_layer
from optim_core.wrapping.steps import GradientsReady
from optim_core.wrapping.trail import Trail


class PlainSteps(BaseState):
    """The steps of an optimizer that knows nothing of this library: torch's, or anybody's.

    Args:
        optimizer: the optimizer.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer)
        #: What works around the step, the innermost first.
        self.layers: list[Around | RuleLayer] = []

    def needs_in_force(self) -> frozenset[Need]:
        """The needs of a step, with the options in force."""
        return needs_of(self.optimizer)

    @property
    def needs_graph(self) -> bool:
        """True if a spec says so of the class."""
        return "create_graph" in declared_needs(type(self.optimizer))

    @property
    def needs_closure(self) -> bool:
        """False; what cannot step without a closure is refused."""
        return False

    def collect(self, run: Callable[[], Any]) -> Any:
        """Call ``run`` once."""
        return run()

    def evaluate(self, closure: Callable[[], Any]) -> Any:
        """Zero gradients, evaluate the closure once, and leave gradients at the present weights."""
        return closures.evaluate(self.optimizer, closure, create_graph=self.needs_graph)

    def prepare(self, overflow: bool | None) -> bool:
        """Return False after an overflow."""
        return not overflow

    def gradients_divided(self, by: Tensor | float | None) -> None:
        """No matter: nothing differentiates them."""

    def step(self, closure: GradientsReady, /) -> None:
        """Step with the gradients that are there, with transforms around it if there are any."""
        del closure
        trail = Trail(self.layers)
        step: Callable[[], Any] = functools.partial(self._innermost, trail)
        for layer in self.layers:
            if isinstance(layer, RuleLayer):
                layer.begin(self)
            step = functools.partial(layer.step, self, self.settings, step, trail)
        step()
        if self.needs_graph:
            closures.drop_graph(parameters(self.optimizer))
        self.hand_over()

    def _innermost(self, trail: Trail) -> None:
        if trail.active:
            groups = self.optimizer.param_groups
            trail.begin(groups, [self.settings(group, ())[0] for group in groups])
        self.optimizer.step()

    @contextmanager
    def flushing(self) -> Iterator[bool]:
        """No gradients wait here."""
        yield False

    def train(self) -> None:
        """Call the optimizer's own ``train``, if it has one (schedule-free methods)."""
        self._turn("train")

    def eval(self) -> None:
        """Call the optimizer's own ``eval``, if it has one (schedule-free methods)."""
        self._turn("eval")

    def _turn(self, mode: str) -> None:
        if has_modes(self.optimizer):
            getattr(self.optimizer, mode)()

    def begin(self) -> None:
        """Have the optimizer create its states by a step with lr 0 and zero gradients, as tools for checkpoints do."""
        self.optimizer.step()
        self.hand_over()

    def calculate(self, formula: Formula, shares: Sequence[ParameterSet]) -> None:
        """Run a formula with the engine of its own choice."""
        formula(shares)

    def add_transform(
        self, transform: Transform, *, excluded: Collection[Tensor], owner: str, keeper: Keeper | None = None
    ) -> None:
        """Put a transform around the step.

        Raises:
            WrapperConflict: it changes gradients whose graph the step differentiates.
        """
        changes = isinstance(transform, Part) or transform.overrides("gradient") or transform.overrides("parameter")
        if self.needs_graph and changes:
            raise WrapperConflict(
                f"{owner} cannot go around {type(self.optimizer).__name__}, which differentiates the gradients: what "
                f"{owner} makes of them has no graph. Use a first-order method such as adamw"
            )
        if isinstance(transform, Part) and keeper is not None:
            self.layers.append(RuleLayer(transform, excluded, owner, keeper))
            return
        if transform.overrides("denominator") and any(isinstance(layer, RuleLayer) for layer in self.layers):
            raise WrapperConflict(
                f"{owner} changes what {type(self.optimizer).__name__} divides by, which cannot be reached past the "
                f"rules around it: put {owner} inside, or use optim-core's method, which takes them in any order"
            )
        last = self.layers[-1] if self.layers else None
        if not isinstance(last, Around):
            last = Around()
            self.layers.append(last)
        last.add(transform, excluded, owner)

    def compose(self, transform: Transform, keeper: Keeper) -> bool:
        """Return False: there is no rule."""
        del transform, keeper
        return False

    def reach(self, group: Mapping[str, Any], *transforms: Transform) -> Level:
        """That of the transforms; what the optimizer itself does is its own affair."""
        settings, options = self.settings(group, tuple(t for t in transforms if not isinstance(t, Part)))
        parts = [t for t in transforms if isinstance(t, Part)]
        around = [reach_of_layer(part, replace(settings, transforms=()), options) for part in parts]
        return max(reach_around(self.optimizer, settings, options), *around, Level.ELEMENT)

    def decays(self, group: Mapping[str, Any]) -> bool:
        """Return True if weight decay acts on the parameter itself, as far as is known."""
        return bool(group.get("decoupled_weight_decay", isinstance(self.optimizer, torch.optim.AdamW)))

    def settings(
        self, group: Mapping[str, Any], transforms: tuple[Transform, ...]
    ) -> tuple[CompositionSettings, dict[str, Any]]:
        """The settings of a group for the composition, and the options that transforms see."""
        settings = CompositionSettings(
            "decoupled" if self.decays(group) else None,
            fixed_decay=False,
            maximize=bool(group.get("maximize", False)),
            transforms=transforms,
        )
        return settings, {name: group[name] for name in ("lr", "weight_decay") if group.get(name) is not None}


class RuleSteps(PlainSteps):
    """The steps of a RuleOptimizer, which has most of them itself."""

    optimizer: RuleOptimizer

    @property
    def needs_graph(self) -> bool:
        """As the optimizer says."""
        return self.optimizer.needs_graph

    @property
    def needs_closure(self) -> bool:
        """As the optimizer says."""
        return self.optimizer.needs_closure

    def collect(self, run: Callable[[], Any]) -> Any:
        """The method's own, which may evaluate at several points."""
        return self.optimizer.collect(run)

    def evaluate(self, closure: Callable[[], Any]) -> Any:
        """The method's own, with a graph where it needs one."""
        return self.optimizer.evaluate(closure)

    def prepare(self, overflow: bool | None) -> bool:
        """The method's own."""
        return self.optimizer.prepare(overflow)

    def gradients_divided(self, by: Tensor | float | None) -> None:
        """The method's own."""
        self.optimizer.gradients_divided(by)

    def calculate(self, formula: Formula, shares: Sequence[ParameterSet]) -> None:
        """Run a formula with the engine that the optimizer asks for."""
        formula(shares, engine=self.optimizer.engine, foreach=self.optimizer.foreach)

    def add_transform(
        self, transform: Transform, *, excluded: Collection[Tensor], owner: str, keeper: Keeper | None = None
    ) -> None:
        """Compose a transform with the rule.

        One that sums over all parameters does not go with functions of stacks, which see some of them at a time: it
        works around the step, and so do those that come before it, and one that changes gradients which the method
        looks at beside its rule. What acts on names in the rule cannot.
        """
        around = (self._sums(transform) and self.optimizer.stacks()) or self._changes_seen(transform)
        composes = acts_inside(transform) or not (self.layers or around)
        if composes and self.optimizer.method.rule is not None:
            self.optimizer.add_transform(transform, keeper, excluded=excluded)
        else:
            super().add_transform(transform, excluded=excluded, owner=owner, keeper=keeper)

    def _changes_seen(self, transform: Transform) -> bool:
        # what a rule around the rule makes of them is not to be had outside: it passes options inwards
        changes = not isinstance(transform, Part) and transform.overrides("gradient")
        return self.optimizer.sees_gradients and changes

    def _sums(self, transform: Transform) -> bool:
        return not isinstance(transform, Part) and sums(*self.settings(self.optimizer.param_groups[0], (transform,)))

    def compose(self, transform: Transform, keeper: Keeper) -> bool:
        """Compose a transform that keeps tensors with the rule, if there is one."""
        if self.optimizer.method.rule is None:
            return False
        self.optimizer.add_transform(transform, keeper)
        return True

    def decays(self, group: Mapping[str, Any]) -> bool:
        """Return True if weight decay acts on the parameter itself."""
        return self.optimizer.method.composition_settings(group, ()).decay == "decoupled"

    def reach(self, group: Mapping[str, Any], *transforms: Transform) -> Level:
        """That of the rule with the transforms composed."""
        return self.optimizer.reach(group, *transforms)

    def settings(
        self, group: Mapping[str, Any], transforms: tuple[Transform, ...]
    ) -> tuple[CompositionSettings, dict[str, Any]]:
        """The settings of a group for the composition, and the options that transforms see."""
        optimizer = self.optimizer
        return optimizer.method.composition_settings(group, transforms), {
            name: group[name] for name in optimizer.hypers
        }

    # state --------------------------------------------------------------------------------------------------
    def state_of(self, p: Tensor, /) -> MutableMapping[str, Any]:
        """The optimizer's: it tells by their names which states have begun, so nothing has to wait."""
        return self.optimizer.state.get(p) or NotBegun(self.optimizer, p, self.optimizer.begin)

    def begin(self) -> None:
        """The optimizer creates its states without a step."""
        self.optimizer.begin()
        self.hand_over()

    def load_state_dict(
        self, state_dict: dict[str, Any], strict: bool = True, /, *, rename: Rename | None, options: Options | None
    ) -> LoadResult:
        """Take over a state; the optimizer matches it itself."""
        result = self.optimizer.load_state_dict(state_dict, strict, rename=rename, options=options)
        self.waiting = {}
        return result


def steps_of(optimizer: Optimizer) -> PlainSteps:
    """The steps of an optimizer that is not a wrapper."""
    return RuleSteps(optimizer) if isinstance(optimizer, RuleOptimizer) else PlainSteps(optimizer)
