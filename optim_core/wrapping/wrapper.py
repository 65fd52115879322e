"""Wrapper: the base class of optimizers around optimizers."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from optim_core.errors import ClosureError, InvalidOption
from optim_core.methods.constructor import declare
from optim_core.methods.declarations import Hyper, argument
from optim_core.methods.method import Method
from optim_core.methods.moved import follow_memory
from optim_core.methods.reuse import Column, same_objects
from optim_core.optimizers import hosts
from optim_core.optimizers.closures import that_evaluates
from optim_core.optimizers.explanation import Explanation, explain
from optim_core.optimizers.gradients import check_shards, parameters
from optim_core.optimizers.pieces import host_of_pieces, refuse_pieces
from optim_core.optimizers.threads import in_one_thread
from optim_core.rules import Level, Transform
from optim_core.wrapping import conflicts
from optim_core.wrapping.bases import steps_of
from optim_core.wrapping.saved import Saved
from optim_core.wrapping.steps import GRADIENTS_READY, GradientsReady, Steps


@typing.dataclass_transform(field_specifiers=(argument,))
class _Declared(Saved):
    """Tells type checkers that a subclass's constructor follows from its annotated options."""


class Wrapper(_Declared):
    """An optimizer that changes what another one does, and shares everything with it.

    It is a real ``torch.optim.Optimizer``: ``param_groups``, ``state`` and ``defaults`` are the base's own, so
    schedulers, GradScaler and checkpoints work on it. Subclasses declare options like methods do, and override

    * :meth:`collect` to decide how often and where gradients are evaluated (SAM),
    * :meth:`evaluate` to decide what one evaluation of the user's closure is (PCGrad),
    * :meth:`prepare` to decide whether there is a step, before anything of it is done,
    * :meth:`apply` to act around the base's step (Lookahead),

    each calling the inherited one for what lies inside. What they keep between steps goes into ``memory[p]`` (tensors
    of the parameter's shape, or single numbers, by name) and ``counters``, and so into checkpoints; :attr:`keeps` lists
    what each parameter has from its first step, and :meth:`begin` creates it.

    What it does not go with is declared: :attr:`needs` and :attr:`refuses`.

    ``stepped`` tells whether the last call of ``step`` or ``minimize`` was a step. It was not if GradScaler found inf
    or nan, or if gradients wait for more of them. No wrapper counts such a call, nor should a scheduler::

        if optimizer.stepped:
            scheduler.step()

    Args:
        base: any torch optimizer, or another wrapper.

    Raises:
        UnknownOption, InvalidOption: an option is misspelt, of the wrong type or out of range, or has no name.
        WrapperConflict: the base cannot be wrapped, is a class, or has this wrapper already.
    """

    if typing.TYPE_CHECKING:  # an attribute of the class would hide the base from what delegates to instances
        base: Optimizer = argument()

    _present: Column

    method: ClassVar[Method]
    hypers: ClassVar[Mapping[str, Hyper]]
    #: True if :meth:`apply` and all else that a subclass overrides do the same to each element, wherever it stands and
    #: whatever the others are. Only such wrappers go around optimizers of pieces (FSDP1's flat parameters).
    elementwise: ClassVar[bool] = False
    #: Options of which a parameter group may have its own, read anew at each step, so that a schedule may set them.
    group_options: ClassVar[tuple[str, ...]] = ()
    #: Arguments of the constructor that are not options, such as a model: they become attributes, belong to no
    #: checkpoint, and are required unless the class gives that name a value.
    arguments: ClassVar[tuple[str, ...]] = ()
    argument_defaults: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        parameter = inspect.Parameter
        own = {name: vars(cls)[name] for name in cls.arguments if name in vars(cls)}
        for name in own:
            delattr(cls, name)
        cls.argument_defaults = {**cls.argument_defaults, **own}
        others = [
            parameter(name, parameter.KEYWORD_ONLY, default=cls.argument_defaults.get(name, parameter.empty))
            for name in cls.arguments
        ]
        declare(cls, parameter("base", parameter.POSITIONAL_OR_KEYWORD, annotation=Optimizer), others=others)

    if not typing.TYPE_CHECKING:  # type checkers derive the constructor from the declarations

        def __init__(self, base, *others, **options):
            conflicts.check_order(base, others, options, self.method, self.arguments)
            arguments = {name: options.pop(name) for name in self.arguments if name in options}
            arguments = {**self.argument_defaults, **arguments}
            options = self.method.with_defaults(self.method.check_options(options))
            conflicts.check_base(base, self.method.name)
            for name in self.arguments:
                if name not in arguments:
                    raise InvalidOption(f"{self.method.name} needs {name}=...: see its documentation")
            vars(self).update(arguments)
            self.options = options
            self.stepped = self._collected = False
            self._present = Column()
            super().__init__(base, _steps_of(base))
            conflicts.check_inside(self)
            self.name_layers()
            self.on_wrap()

    @classmethod
    def arguments_of(cls, model: nn.Module) -> dict[str, Any]:
        """Those of :attr:`arguments` that a model tells, for :func:`optim_core.create_optimizer`."""
        return {"model": model} if "model" in cls.arguments else {}

    def reach(self, group: Mapping[str, Any], *transforms: Transform) -> Level:
        """How far what becomes of an element depends on others: itself (ELEMENT), its tensor, or all (WHOLE).

        Args:
            group: a parameter group of the base.
            transforms: what wrappers around this one are to add.
        """
        return max(Level.ELEMENT if self.elementwise else Level.WHOLE, self.base_steps.reach(group, *transforms))

    def on_group(self, group: dict[str, Any]) -> None:
        """Refuse pieces of a model, unless this goes no farther than a piece, and shards where torch is too old.

        Raises:
            UnsupportedParameter: naming the host that made them, or the version that is needed.
        """
        super().on_group(group)
        check_shards(group["params"], self.method.name)
        self._check_pieces(group)

    def _check_pieces(self, group: Mapping[str, Any]) -> None:
        host = host_of_pieces(group["params"])
        if host is not None and (not host.holds_wrappers or self.reach(group) > host.reach):
            refuse_pieces(self.method.name, host)

    def on_wrap(self) -> None:
        """Called once, when the base is in place; parameters of later groups come through :meth:`on_group`."""
        for group in self.param_groups:
            self.on_group(group)

    # stepping -----------------------------------------------------------------------------------------------
    def collect(self, run: Callable[[], Any]) -> Any:
        """Leave the gradients of a step in the parameters.

        Args:
            run: computes gradients at the present weights and returns the loss.

        Returns:
            The loss at the weights before the step.
        """
        return self.base_steps.collect(run)

    def evaluate(self, closure: Callable[[], Any]) -> Any:
        """Zero gradients, evaluate the closure once, and leave gradients at the present weights."""
        return self.base_steps.evaluate(closure)

    def prepare(self, overflow: bool | None) -> bool:
        """Decide whether the gradients at hand make a step; called once for each, the outermost wrapper first.

        Args:
            overflow: whether GradScaler has found inf or nan; None without one. Gradients are unscaled already.

        Returns:
            True if :meth:`apply` comes next. If not, no wrapper counts the call.
        """
        self.stepped = False
        return self.base_steps.prepare(overflow)

    def apply(self) -> None:
        """Update the parameters from the gradients that :meth:`collect` has left."""
        self.base_steps.step(GRADIENTS_READY)

    @in_one_thread
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
            ConcurrentStep: another thread steps with this optimizer.
        """
        if hosts.behind(self) is not None:
            return hosts.minimize(self, closure)
        return self.collected(lambda: self.evaluate(closure), self.step)

    def collected(self, run: Callable[[], Any], step: Callable[[], Any]) -> Any:
        """Collect what the next step needs, then step by calling ``step()``: this optimizer's, or a host's.

        So a step's hooks see the gradients, and see what they see without a wrapper.
        """
        self.stepped = False
        self._look_for_others()
        with torch.enable_grad():
            loss = self.collect(run)
        self._collected = True
        try:
            step()
        finally:
            self._collected = False
        return loss

    def step(self, closure: Callable[[], Any] | GradientsReady | None = None) -> Any:
        """Update the parameters from their gradients.

        Args:
            closure: zeroes gradients, evaluates and calls backward, as for every torch optimizer; called as often
                as the wrapper needs it. ``GRADIENTS_READY`` from a wrapper around this one, which has called
                :meth:`prepare`.

        Returns:
            The closure's first result, or None.

        Raises:
            ClosureError: a closure is needed and missing, or given where GradScaler drives.
        """
        loss = None
        self.stepped = False
        self._look_for_others()
        if closure is not GRADIENTS_READY:
            found_inf: Tensor | None = getattr(self, "found_inf", None)  # GradScaler sets it for the time of the call
            self._check_closure(closure, scaled=found_inf is not None)
            if closure is not None:
                with torch.set_grad_enabled(True):
                    loss = self.collect(that_evaluates(self, closure) if self.needs_closure else closure)
            with torch.set_grad_enabled(False):
                self._unscale(by_scaler=found_inf is not None)
                if not self.prepare(None if found_inf is None else bool(found_inf)):
                    return loss
        with torch.set_grad_enabled(False):
            self.apply()
        self.stepped = True
        return loss

    def _look_for_others(self) -> None:
        """Keep nothing of parameters that have left their group since the last step; follow those that have moved.

        Raises:
            UnsupportedParameter: a parameter has another shape than it had, or is a piece of what it was.
        """
        present = parameters(self)
        if not same_objects(present, self._present):
            for group in self.param_groups:
                self._check_pieces(group)
            self.on_exchange(set(present))
        elif not self.keeps or self._present.is_unmoved():
            return
        follow_memory(self.memory, self.method.name)
        self._present = Column(present)

    def on_exchange(self, present: Collection[Tensor]) -> None:
        """Called before a step whose parameters are others than those of the last one.

        Args:
            present: all that there are now.
        """
        self.base_steps.on_exchange(present)

    def _check_closure(self, closure: Callable[[], Any] | None, *, scaled: bool) -> None:
        if closure is not None and scaled:
            raise ClosureError(
                f"{self.method.name}: GradScaler takes no closures: call backward() on the scaled loss, then "
                "scaler.step(optimizer)"
            )
        if closure is None and self.needs_closure and not self._collected:
            last = [wrapper for wrapper in (self, *self.inside) if wrapper.needs_closure][-1]
            evaluator = last.base if last.base_steps.needs_closure else last
            raise ClosureError(
                f"{type(evaluator).__name__} evaluates the loss more than once a step: use "
                "optimizer.minimize(closure), or step(closure) with a closure that zeroes the gradients, computes the "
                "loss and calls backward"
            )

    #: GradScaler calls step() after an overflow too, instead of unscaling gradients and leaving it out.
    _step_supports_amp_scaling = True

    def _unscale(self, *, by_scaler: bool) -> None:
        """Divide by the factor of a GradScaler that has left this to the step."""
        scale: Tensor | None = getattr(self, "grad_scale", None)
        self.gradients_divided(scale if by_scaler else 1.0)
        if scale is None:
            return
        for p in parameters(self):
            if p.grad is not None:
                p.grad.div_(scale.to(p.grad.device))

    def flush(self) -> bool:
        """Step with the gradients that wait for more of them (gradient accumulation).

        Returns:
            True if there were any.
        """
        with self.flushing() as waiting, torch.no_grad():
            ready = waiting and self.prepare(None)
        if ready:
            self.step(GRADIENTS_READY)
        return ready

    def explain(self) -> Explanation:
        """Return what is in force for each parameter, and why; print it to read it."""
        options = ", ".join(f"{name}={value}" for name, value in self.options.items())
        inner = explain(self.base)
        mine = f"{self.method.name}({options})"
        return Explanation(tuple(replace(row, wrappers=(*row.wrappers, mine)) for row in inner))

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._present = Column()

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {n: vars(self)[n] for n in self.arguments if n in vars(self)}

    def __repr__(self) -> str:
        options = "".join(f"{name}={value!r}, " for name, value in self.options.items())
        return f"{self.method.name}({options}base={self.base!r})"


def _steps_of(base: Optimizer) -> Steps:
    return base if isinstance(base, Wrapper) else steps_of(base)
