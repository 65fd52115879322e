"""Wrapper: the base class of optimizers around optimizers."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from optim_core.catalog.specs import Need
from optim_core.errors import CheckpointMismatch, ClosureError, InvalidOption, OptimCoreError, WrapperConflict
from optim_core.methods.constructor import declare
from optim_core.methods.declarations import Hyper, argument
from optim_core.methods.formula import Formula, ParameterSet
from optim_core.methods.method import Method
from optim_core.optimizers import checkpoint, closures
from optim_core.optimizers.explanation import Explanation, explain
from optim_core.optimizers.gradients import parameters
from optim_core.optimizers.needs import has_modes, needs_of
from optim_core.optimizers.optimizer import RuleOptimizer


class _Kept(Optimizer):
    """What a wrapper keeps; declared apart from its options, which type checkers take for the constructor's."""

    options: dict[str, Any]
    memory: dict[Tensor, dict[str, Tensor]]
    counters: dict[str, int]
    stepped: bool
    _set_up: bool
    _stepping: Wrapper | None


class Accumulator(Protocol):
    """A wrapper that takes several calls for a step."""

    method: ClassVar[Method]
    #: Whether :meth:`Wrapper.prepare` is to make a step of the calls that there are.
    closing: bool

    @property
    def pending(self) -> bool:
        """Whether some calls wait for their step."""


@typing.dataclass_transform(field_specifiers=(argument,))
class _Declared(_Kept):
    """Tells type checkers that a subclass's constructor follows from its annotated options."""


class Wrapper(_Declared):
    """An optimizer that changes what another one does, and shares everything with it.

    It is a real ``torch.optim.Optimizer``: ``param_groups``, ``state`` and ``defaults`` are the base's own, so
    schedulers, GradScaler and checkpoints work on it. Subclasses declare options like methods do, and override

    * :meth:`collect` to decide how often and where gradients are evaluated (SAM),
    * :meth:`evaluate` to decide what one evaluation of the user's closure is (PCGrad),
    * :meth:`prepare` to decide whether there is a step, before anything of it is done,
    * :meth:`apply` to act around the base's step (Lookahead),

    each calling the inherited one for what lies inside. What they keep between steps goes into ``memory`` (a dict
    for each parameter, of tensors of its shape or single numbers) and ``counters``, and so into checkpoints.

    ``stepped`` tells whether the last call of ``step`` or ``minimize`` has been a step: not where GradScaler has found
    inf or nan, nor where gradients wait for more of them. No wrapper counts such a call, nor should a scheduler::

        if optimizer.stepped:
            scheduler.step()

    Args:
        base: any torch optimizer, or another wrapper.

    Raises:
        UnknownOption, InvalidOption: an option is misspelt, of the wrong type or out of range.
        WrapperConflict: the base cannot be wrapped, or has this wrapper already.
    """

    base: Optimizer = argument()

    method: ClassVar[Method]
    hypers: ClassVar[Mapping[str, Hyper]]
    #: Arguments of the constructor that are no options, such as a model: they become attributes, belong to no
    #: checkpoint, and are required unless the class has an attribute of that name.
    arguments: ClassVar[tuple[str, ...]] = ()
    #: What the wrapper itself needs beside gradients, keys of :data:`optim_core.catalog.NEEDS`; its spec says the same.
    needs: ClassVar[frozenset[Need]] = frozenset()

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        parameter = inspect.Parameter
        others = [
            parameter(name, parameter.KEYWORD_ONLY, default=getattr(cls, name, parameter.empty))
            for name in cls.arguments
        ]
        declare(cls, parameter("base", parameter.POSITIONAL_OR_KEYWORD, annotation=Optimizer), others=others)

    if not typing.TYPE_CHECKING:  # type checkers derive the constructor from the declarations

        def __init__(self, base, **options):
            others = {name: options.pop(name) for name in self.arguments if name in options}
            given = self.method.check_options(options)
            if not isinstance(base, Optimizer):
                raise WrapperConflict(
                    f"{self.method.name} goes around an optimizer, not {type(base).__name__}: build that first, such "
                    f"as {self.method.name}(torch.optim.SGD(model.parameters(), lr=0.1))"
                )
            _refuse_closure_in_step(base, self.method.name)
            _refuse_twice(base, self.method.name)
            for name in self.arguments:
                if name not in others and not hasattr(type(self), name):
                    raise InvalidOption(f"{self.method.name} needs {name}=...: see its documentation")
            vars(self).update(others)
            self.base = base
            self.options = self.method.with_defaults(given)
            self.memory = {}
            self.counters = {}
            self.stepped = False
            self._set_up = False
            self._stepping = None
            super().__init__(base.param_groups, base.defaults)
            self._set_up = True
            self.on_wrap()

    @classmethod
    def arguments_of(cls, model: nn.Module) -> dict[str, Any]:
        """Those of :attr:`arguments` that a model tells, for :func:`optim_core.create_optimizer`."""
        return {"model": model} if "model" in cls.arguments else {}

    def on_wrap(self) -> None:
        """Called once, when the base is in place; parameters of later groups come through :meth:`on_group`."""
        for group in self.param_groups:
            self.on_group(group)

    def on_group(self, group: dict[str, Any]) -> None:
        """Called for each group, while its parameters have their first values."""
        del group

    # what is shared -----------------------------------------------------------------------------------------
    # Optimizer.__init__ and load_state_dict assign these; the base's are the only ones there are.
    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The base's groups, the very same objects."""
        return self.base.param_groups

    @param_groups.setter
    def param_groups(self, value: object) -> None:
        del value

    @property
    def state(self) -> Any:
        """The base's state."""
        return self.base.state

    @state.setter
    def state(self, value: object) -> None:
        del value

    @property
    def defaults(self) -> dict[str, Any]:
        """The base's defaults."""
        return self.base.defaults

    @defaults.setter
    def defaults(self, value: object) -> None:
        del value

    @cached_property
    def innermost(self) -> Optimizer:
        """The optimizer at the core of all wrappers."""
        return self.base.innermost if isinstance(self.base, Wrapper) else self.base

    @property
    def inside(self) -> Iterator[Wrapper]:
        """The wrappers inside of this one, from the outside in."""
        if isinstance(self.base, Wrapper):
            yield self.base
            yield from self.base.inside

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the wrappers around the innermost optimizer, from the inside to this one."""
        return (*(self.base.layers if isinstance(self.base, Wrapper) else ()), self.method.name)

    def needs_in_force(self) -> frozenset[Need]:
        """What this wrapper and all that stands inside it need; :func:`optim_core.optimizers.needs_of` asks."""
        return self.needs | needs_of(self.base)

    @property
    def needs_graph(self) -> bool:
        """Whether the next step differentiates the gradients."""
        return bool(getattr(self.base, "needs_graph", False))

    @property
    def needs_closure(self) -> bool:
        """Whether a step evaluates the loss itself, so that ``step()`` alone cannot do it."""
        return "closure" in self.needs or bool(getattr(self.base, "needs_closure", False))

    @property
    def accumulator(self) -> Accumulator | None:
        """The wrapper here or inside that takes several calls for a step, if there is one."""
        return self.base.accumulator if isinstance(self.base, Wrapper) else None

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As the base's."""
        self.base.zero_grad(set_to_none)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group to the base, which may make several of it; all or none of them are there in the end."""
        if self._set_up:
            before = len(self.param_groups)
            try:
                self.base.add_param_group(param_group)
                for group in self.param_groups[before:]:
                    self.on_group(group)
            except OptimCoreError:
                del self.param_groups[before:]
                raise

    def train(self) -> None:
        """Have the parameters hold the base's training point, where it has one of its own (schedule-free methods)."""
        self._turn("train")

    def eval(self) -> None:
        """Have the parameters hold the base's point for evaluation, where it has one of its own."""
        self._turn("eval")

    def _turn(self, mode: str) -> None:
        if has_modes(self.base):
            getattr(self.base, mode)()

    def calculate(self, formula: Formula, shares: Sequence[ParameterSet]) -> None:
        """Run a formula with the engine that the innermost optimizer asks for."""
        inner = self.innermost
        if isinstance(inner, RuleOptimizer):
            formula(shares, engine=inner.engine, foreach=inner.foreach)
        else:
            formula(shares)

    # stepping -----------------------------------------------------------------------------------------------
    def collect(self, run: Callable[[], Any]) -> Any:
        """Leave the gradients of a step in the parameters.

        Args:
            run: computes gradients at the present weights and returns the loss.

        Returns:
            The loss at the weights before the step.
        """
        return self.base.collect(run) if isinstance(self.base, (Wrapper, RuleOptimizer)) else run()

    def evaluate(self, closure: Callable[[], Any]) -> Any:
        """Zero gradients, evaluate the closure once, and leave gradients at the present weights."""
        if isinstance(self.base, (Wrapper, RuleOptimizer)):
            return self.base.evaluate(closure)
        return closures.evaluate(self.base, closure)

    #: GradScaler calls step() after an overflow too, instead of unscaling gradients and leaving it out.
    _step_supports_amp_scaling = True

    def prepare(self, overflow: bool | None) -> bool:
        """Decide whether the gradients at hand make a step; called once for each, the outermost wrapper first.

        Args:
            overflow: whether GradScaler has found inf or nan; None without one. Gradients are unscaled already.

        Returns:
            Whether :meth:`apply` comes next. If not, no wrapper counts the call.
        """
        self.stepped = False
        return self.base.prepare(overflow) if isinstance(self.base, (Wrapper, RuleOptimizer)) else not overflow

    def apply(self) -> None:
        """Update the parameters from the gradients that :meth:`collect` has left."""
        if isinstance(self.base, Wrapper):
            self.base.step(GRADIENTS_READY)
        else:
            (self._stepping or self).step_innermost()

    def step_innermost(self) -> None:
        """Let the innermost optimizer step; a wrapper anywhere around it may take this over (TransformWrapper does)."""
        self.innermost.step()

    def minimize(self, closure: Callable[[], Any]) -> Any:
        """Do everything for one step.

        Args:
            closure: computes and returns the loss (a list of losses for multi-task wrappers); nothing else. One loss
                may also be yielded in parts, whose sum it is, so that only one part's graph is in memory: gradient
                accumulation, of which each evaluation sees all.

        Returns:
            The loss before the step, detached.

        Raises:
            ClosureError: the closure returns something else, or has called backward itself.
        """
        # by way of step(), which hooks and schedulers watch
        return self.step(lambda: self.evaluate(closure))

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters from their gradients.

        Args:
            closure: zeroes gradients, evaluates and calls backward, as for every torch optimizer; called as often
                as the wrapper needs it.

        Returns:
            The closure's first result, or None.

        Raises:
            ClosureError: a closure is needed and missing, or given where GradScaler drives.
        """
        if closure is GRADIENTS_READY:  # a wrapper outside of this one has prepared the step
            with torch.no_grad():
                self.apply()
            self.stepped = True
            return None
        found_inf: Tensor | None = getattr(self, "found_inf", None)  # GradScaler sets it for the time of the call
        if closure is not None and found_inf is not None:
            raise ClosureError(
                f"{self.method.name}: GradScaler takes no closures: call backward() on the scaled loss, then "
                "scaler.step(optimizer)"
            )
        if closure is None and self.needs_closure:
            raise ClosureError(
                f"{_evaluator(self)} evaluates the loss more than once a step: use optimizer.minimize(closure), or "
                "step(closure) with a closure that zeroes the gradients, computes the loss and calls backward"
            )
        loss = None
        self.stepped = False
        if closure is not None:
            with torch.set_grad_enabled(True):
                loss = self.collect(closure)
        with torch.set_grad_enabled(False):
            self._unscale()
            if self.prepare(None if found_inf is None else bool(found_inf)):
                self.apply()
                self.stepped = True
        return loss

    def flush(self) -> bool:
        """Step with the gradients that wait for more of them (gradient accumulation).

        Returns:
            Whether there were any.
        """
        accumulator = self.accumulator
        if accumulator is None or not accumulator.pending:
            return False
        accumulator.closing = True
        try:
            with torch.no_grad():
                ready = self.prepare(None)
        finally:
            accumulator.closing = False
        if ready:
            self.step(GRADIENTS_READY)
        return ready

    def _unscale(self) -> None:
        """Divide by the factor of a GradScaler that has left this to the step."""
        scale: Tensor | None = getattr(self, "grad_scale", None)
        if scale is None:
            return
        for p in parameters(self):
            if p.grad is not None:
                p.grad.div_(scale.to(p.grad.device))

    def explain(self) -> Explanation:
        """What is in force for each parameter, and why; print it."""
        options = ", ".join(f"{name}={value}" for name, value in self.options.items())
        inner = explain(self.base)
        mine = f"{self.method.name}({options})"
        return Explanation(tuple(replace(row, wrappers=(*row.wrappers, mine)) for row in inner))

    # saving -------------------------------------------------------------------------------------------------
    def state_dict(self) -> dict[str, Any]:
        """The base's state dict, and under ``wrappers`` what each wrapper keeps, the innermost first."""
        for prepare in self._optimizer_state_dict_pre_hooks.values():
            prepare(self)
        saved = self.base.state_dict()
        index = {p: k for k, p in enumerate(parameters(self))}
        mine = {index[p]: dict(kept) for p, kept in self.memory.items() if p in index}
        entry = {"name": self.method.name, "memory": mine, "counters": dict(self.counters)}
        saved = saved | {"wrappers": [*saved.get("wrappers", []), entry]}
        for change in self._optimizer_state_dict_post_hooks.values():
            saved = change(self, saved) or saved
        return saved

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state, the base's and the wrapper's own.

        Raises:
            CheckpointMismatch: it was saved without this wrapper, or from another model or method; nothing is
                changed then.
        """
        for change in self._optimizer_load_state_dict_pre_hooks.values():
            state_dict = change(self, state_dict) or state_dict
        *inside, entry = self._saved_layers(state_dict)
        inner = {k: v for k, v in state_dict.items() if k != "wrappers"} | ({"wrappers": inside} if inside else {})
        own = checkpoint.align({**state_dict, "state": entry["memory"]}, self.param_groups, self.method.name)
        kept = dict(zip(parameters(self), checkpoint.parameter_entries(own), strict=True))
        self._check_shapes(kept)
        if not isinstance(self.base, (Wrapper, RuleOptimizer)):
            inner = checkpoint.align(inner, self.param_groups, type(self.base).__name__)  # torch ignores names
        self.base.load_state_dict(inner)
        self.memory = {
            p: {name: x.to(p.device, copy=True) for name, x in mine.items()} for p, mine in kept.items() if mine
        }
        self.counters = dict(entry["counters"])
        for finish in self._optimizer_load_state_dict_post_hooks.values():
            finish(self)

    def _saved_layers(self, state_dict: Mapping[str, Any]) -> list[dict[str, Any]]:
        saved = list(state_dict.get("wrappers", []))
        names = [entry["name"] for entry in saved]
        if names != list(self.layers):
            raise CheckpointMismatch(
                f"the checkpoint was saved with the wrappers {', '.join(names) or 'none'} (the innermost first), this "
                f"optimizer has {', '.join(self.layers)}: build it with the same wrappers in the same order"
            )
        return saved

    def _check_shapes(self, kept: Mapping[Tensor, Mapping[str, Tensor]]) -> None:
        for p, mine in kept.items():
            for name, x in mine.items():
                if x.ndim:
                    checkpoint.check_shape(x, p, name, self.method.name)

    def __getstate__(self) -> dict[str, Any]:
        kept = ("base", "options", "memory", "counters", "stepped", "_set_up", "_stepping", *self.arguments)
        return {name: self.__dict__[name] for name in kept if name in self.__dict__}

    def __repr__(self) -> str:
        options = "".join(f"{name}={value!r}, " for name, value in self.options.items())
        return f"{self.method.name}({options}base={self.base!r})"


def GRADIENTS_READY() -> None:  # noqa: N802 - a constant, which step() takes in the place of a closure
    """In the place of a closure: the gradients are there already, so a wrapper steps without collecting them."""


def _evaluator(optimizer: Optimizer) -> str:
    """The innermost one that needs a closure."""
    while isinstance(optimizer, Wrapper) and getattr(optimizer.base, "needs_closure", False):
        optimizer = optimizer.base
    return type(optimizer).__name__


def _refuse_twice(base: Optimizer, owner: str) -> None:
    if isinstance(base, Wrapper) and owner in base.layers:
        raise WrapperConflict(
            f"{owner} is there already, around {type(base.innermost).__name__}: {' + '.join(base.layers)}; leave the "
            "second one out"
        )


def _refuse_closure_in_step(base: Optimizer, owner: str) -> None:
    closure = inspect.signature(base.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise WrapperConflict(
            f"{owner} cannot go around {type(base).__name__}, which evaluates the loss inside its own step; use "
            f"{type(base).__name__} alone, with optim_core.minimize(optimizer, closure)"
        )
