"""RuleOptimizer: the one base class of every method."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.optim.optimizer import ParamsT

from optim_core.catalog.needs import Need
from optim_core.engines.choice import NAMES, check_request
from optim_core.engines.sharded import is_sharded
from optim_core.engines.tensors import real, shape_of
from optim_core.errors import OptimCoreError
from optim_core.methods.blocks import blocks_in
from optim_core.methods.composition import Composition
from optim_core.methods.constructor import bind, declare
from optim_core.methods.declarations import Hyper, State, argument, hyper
from optim_core.methods.method import Method
from optim_core.methods.update import Update
from optim_core.optimizers import hosts
from optim_core.optimizers.closures import drop_graph, evaluate, that_evaluates
from optim_core.optimizers.composed import Composed
from optim_core.optimizers.explanation import Explanation, decay_text, explanation_of
from optim_core.optimizers.gradients import check_gradient, check_graph, check_parameter, check_shards
from optim_core.optimizers.pieces import left_alone
from optim_core.optimizers.threads import in_one_thread
from optim_core.rules.transform import Transform
from optim_core.rules.values import Level

Engine: typing.TypeAlias = Literal["auto", "eager", "native", "triton"]


# hyper() and the like are not field specifiers: type checkers would look for `default=` in them, whereas any other
# value on the right is a default.
@typing.dataclass_transform(field_specifiers=(argument,))
class _Declared(Composed):
    """Tells type checkers that a subclass's constructor follows from its annotated options."""


class _Setting:
    """An attribute that decides how the update runs."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Any, owner: type) -> Any:
        return self if optimizer is None else getattr(optimizer._update, self.name)

    def __set__(self, optimizer: Any, value: Any) -> None:
        optimizer._run_by(**{"engine": optimizer.engine, "foreach": optimizer.foreach, self.name: value})


class RuleOptimizer(_Declared):
    """An optimizer that is written as declarations and one update rule.

    A subclass declares its options (:func:`hyper`, :func:`l2`, :func:`decoupled`) and states (:func:`state`) and
    has a ``rule(p, g, *states, **options)``: the update in the words of :mod:`optim_core.rules`, for any shape; traced
    once and run by an engine. It returns the new p and the new states, in the order taken. What it does with matrices
    it leaves to torch, in functions of stacks (:func:`optim_core.rules.stacked`).

    Beside options a rule may take what :data:`optim_core.rules.GIVEN` lists (``step``, ``first``, ...).

    Args:
        params: parameters, named parameters or groups, as for every torch optimizer; or a whole model.
        maximize: ascend instead of descend.
        rounding: how bfloat16 parameters take their new values: ``"nearest"``, ``"stochastic"`` (at random, right on
            average), ``"kahan"`` (what is cut off is kept in a second tensor of bfloat16). Others are left alone.
        engine: what runs the update: ``"auto"`` for the fastest that can, ``"eager"`` (torch operations), ``"native"``
            (one compiled kernel; on a CPU), ``"triton"`` (the same on a GPU).
        foreach: True for lists of tensors, False for tensor by tensor, None to choose by size and device.

    Raises:
        UnknownOption, InvalidOption: an option is misspelt, of the wrong type or out of range.
        UnsupportedParameter: a parameter is neither floating-point nor complex; or is sharded (DTensor) or complex
            where the method works on whole matrices; or complex where it takes means away.

    Example:
        >>> import torch
        >>> from optim_core import RuleOptimizer, hyper
        >>> class Descent(RuleOptimizer):
        ...     lr: float = hyper(0.1, "step size", ge=0)
        ...
        ...     @staticmethod
        ...     def rule(p, g, *, lr):
        ...         return p - lr * g
        >>> w = torch.nn.Parameter(torch.ones(2))
        >>> float(Descent([w], lr=0.5).minimize(lambda: w.square().sum()))
        2.0
        >>> w.tolist()
        [0.0, 0.0]
    """

    params: ParamsT | nn.Module = argument()
    maximize: bool = argument(default=hyper(False, "ascend instead of descend"), kw_only=True)
    rounding: str = argument(
        default=hyper(
            "nearest",
            "how bfloat16 parameters take their new values; 'stochastic' and 'kahan' keep small steps from being lost",
            choices=("nearest", "stochastic", "kahan"),
        ),
        kw_only=True,
    )
    engine: Engine = argument(default="auto", kw_only=True)
    foreach: bool | None = argument(default=None, kw_only=True)

    method: ClassVar[Method]
    hypers: ClassVar[Mapping[str, Hyper]]
    states: ClassVar[Mapping[str, State]]
    #: What the method needs beside gradients, keys of :data:`optim_core.catalog.NEEDS`; its spec says the same.
    needs: ClassVar[frozenset[Need]] = frozenset()
    #: The name of a switch that makes each group a model of its own: totals and ``whole`` states are the group's alone.
    by_group: ClassVar[str] = ""
    #: True if what becomes of a parameter depends on its number among the others.
    by_position: ClassVar[bool] = False
    #: True if it compares values of the loss with what gradients promise, which have to be those of one loss.
    compares_losses: ClassVar[bool] = False
    #: True if :meth:`extras` looks at gradients: what changes them for the rule then does so before, on copies.
    sees_gradients: ClassVar[bool] = False
    #: Raised by the authors when what is saved changes its meaning; older versions refuse it.
    version: ClassVar[int] = 1

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        _declare(cls)

    if not typing.TYPE_CHECKING:  # type checkers derive the constructor from the declarations

        def __init__(self, params, *args, **options):
            options = bind(self.method.name, self.hypers, args, options)
            self._run_by(options.pop("engine", "auto"), options.pop("foreach", None))
            given = self.method.check_options(options)
            self.composition = Composition()
            self._host_of_pieces = None
            self.forget()
            groups = self.groups_of(params) if isinstance(params, nn.Module) else params
            super().__init__(groups, self.resolve(self.method.with_defaults(given), frozenset(given)))

        engine = _Setting()
        foreach = _Setting()

    def _run_by(self, engine: str, foreach: bool | None) -> None:
        check_request(engine, foreach, self.method.name)
        self._update = Update(self.method, engine, foreach)

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """Settle options that depend on each other; called for the constructor, and for each group with its own.

        Args:
            options: all options, by name; for a group, the constructor's settled ones where it has none of its own.
            given: the names of those that the caller gave here.

        Raises:
            InvalidOption: they contradict each other.
        """
        del given
        return options

    @classmethod
    def groups_of(cls, model: nn.Module) -> list[dict[str, Any]]:
        """Return the parameter groups, with names, for a whole model.

        A method that is not meant for all layers alike sorts them here.
        """
        return [{"params": [(name, p) for name, p in model.named_parameters() if p.requires_grad]}]

    # groups and states --------------------------------------------------------------------------------------
    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group. Its options are checked as the constructor's are, before anything is changed."""
        given = self.method.check_group(param_group)
        if given:
            own = {name: self.defaults[name] for name in self.hypers}
            given |= self.resolve(own | given, frozenset(given))
        self.method.check_common(given, self.defaults)
        super().add_param_group(dict(param_group) | given)
        try:
            group = self.param_groups[-1]
            self.method.check_rounding(group, group["params"])
            host = self.check_pieces(group)
            group["layers"] = (
                self.param_groups[0]["layers"] if self.param_groups[1:] else [(self.method.name, self.version)]
            )
            self._join_whole(group)
            check_shards(group["params"], self.method.name)
            for p in group["params"]:
                blocks_in(group, shape_of(p))
                in_stacks = (is_sharded(p) or p.is_complex()) and self._update.stacks(p, group, self.param_groups)
                check_parameter(p, self.method.name, in_stacks=in_stacks)
            with left_alone(group["params"], self.state, self.method.name, host):
                self.on_group(group)
            self.complete_states(group)
        except OptimCoreError:
            self.param_groups.pop()
            raise

    def on_group(self, group: dict[str, Any]) -> None:
        """Called for each new group, while its parameters have their first values."""
        del group

    def explain(self) -> Explanation:
        """Say what is in force for each parameter, and why; print it."""
        how = {"l2": "L2, in the gradient", "decoupled": "decoupled", None: "in the update"}

        def facts(p: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
            decay = decay_text(group, how[self.method.composition_settings(group, ()).decay])
            engine = self._update.engine_of(p, real(p.detach()))
            return {"decay": decay, "engine": engine, "state_bytes": self.state_bytes_of(p, group)}

        return explanation_of(self, facts)

    def extras(self, params: Sequence[Tensor]) -> Mapping[str, Sequence[Tensor]]:
        """Compute the extra inputs of this step, for the parameters that have a gradient.

        Returns:
            By name one tensor for each parameter, of its shape; the rule gets None for a name left out.
        """
        del params
        return {}

    def reach(self, group: Mapping[str, Any], *transforms: Transform) -> Level:
        """As :meth:`Composed.reach`; a method that sorts or counts parameters has to see them all."""
        sorts = any("groups_of" in vars(cls) for cls in type(self).__mro__ if cls is not RuleOptimizer)
        return Level.WHOLE if sorts or self.by_position else super().reach(group, *transforms)

    # what a step needs --------------------------------------------------------------------------------------
    def needs_in_force(self) -> frozenset[Need]:
        """Return those of :attr:`needs` that remain with the options in force."""
        return self.needs

    @property
    def needs_graph(self) -> bool:
        """True if the next step differentiates the gradients: ``loss.backward(create_graph=True)``."""
        return "create_graph" in self.needs_in_force()

    @property
    def needs_closure(self) -> bool:
        """True if the next step evaluates the loss itself, so that ``step()`` alone is not enough."""
        return "closure" in self.needs_in_force()

    # stepping -----------------------------------------------------------------------------------------------
    @in_one_thread
    def minimize(self, closure: Callable[[], Tensor]) -> Tensor:
        """Do everything for one step: zero the gradients, evaluate, backward, update.

        Args:
            closure: computes and returns the loss, a 0-d tensor; nothing else. Or yields it in parts, whose sum it is,
                so that only one part's graph is in memory: gradient accumulation, for any method.

        Returns:
            The loss before the step, detached.

        Raises:
            ClosureError: the closure returns no loss or several, or has called backward itself.
            ConcurrentStep: another thread steps with this optimizer.
        """
        if hosts.behind(self) is not None:
            return hosts.minimize(self, closure)  # type: ignore[no-any-return]
        return self.collected(lambda: self.evaluate(closure), self.step)  # type: ignore[no-any-return]

    def collected(self, run: Callable[[], Any], step: Callable[[], Any]) -> Any:
        """Collect what the next step needs, then step by calling ``step()``: this optimizer's, or a host's."""
        loss = self.collect(run)
        step()
        return loss

    def collect(self, run: Callable[[], Any]) -> Any:
        """Leave what the next step needs: gradients, and whatever else a method takes from evaluations of the loss.

        A method that needs the value of the loss, or evaluates at several points, overrides this, and so works with
        ``minimize(closure)`` and ``step(closure)``, inside wrappers too.

        Args:
            run: zeroes the gradients, computes those at the present weights and returns the loss.

        Returns:
            The loss at the weights before the step.
        """
        return run()

    def evaluate(self, closure: Callable[[], Any]) -> Tensor:
        """Zero the gradients, evaluate the closure, and leave the gradients that the next step needs."""
        return evaluate(self, closure, create_graph=self.needs_graph)

    def prepare(self, overflow: bool | None) -> bool:
        """Decide whether the gradients at hand make a step; see :meth:`optim_core.wrapping.Wrapper.prepare`.

        A method raises here what it would raise in ``step()`` because of where the gradients were taken.
        """
        return not overflow

    def gradients_divided(self, by: Tensor | float | None) -> None:
        """Called by a wrapper that has unscaled gradients by a factor (None: unknown), but not their graphs."""
        del by

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters from their gradients.

        Args:
            closure: if given, called first, with gradients enabled: it zeroes the gradients, evaluates, and calls
                backward, as for every torch optimizer. A first step without one, with lr 0 and zero gradients, creates
                all states and moves nothing, as tools for checkpoints have it.

        Returns:
            What the closure returned, or None.

        Raises:
            SparseGradient, UnsupportedParameter, GraphMissing: before anything is changed.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = self.collect(that_evaluates(self, closure) if self.needs_closure else closure)
        found_inf = getattr(self, "found_inf", None)  # GradScaler sets it, and grad_scale, for the time of the call
        if found_inf is None or not float(found_inf):
            self._update.step(self)
        return loss

    @property
    def _step_supports_amp_scaling(self) -> bool:
        # GradScaler may leave gradients scaled: the rule divides, and a step with inf or nan is left out. What a method
        # derives from the gradients itself would be scaled, so one with extra inputs has them unscaled.
        return not self.method.has_extras(self.param_groups)

    # what a step asks for (optim_core.methods.step.Stepping) ---------------------------------------------------
    def checked_extras(self, params: Sequence[Tensor]) -> Mapping[str, Sequence[Tensor]]:
        """Refuse gradients that the method cannot work with; compute the extra inputs, and let go of graphs.

        Raises:
            SparseGradient, UnsupportedParameter, GraphMissing: before anything is changed.
        """
        self.check_wrapped_since(params)
        for group in self.param_groups:  # model.half() may have come after the constructor
            self.method.check_rounding(group, group["params"])
        for p in params:
            check_gradient(p, self.method.name, rows=self.composition.acting_on(p) if self.sparse else None)
        if self.needs_graph:
            check_graph(params, self.method.name)
        extras = self.extras(params)
        if self.method.has_extras(self.param_groups):
            drop_graph(params)
        return extras

    # saving -------------------------------------------------------------------------------------------------
    def forget(self) -> None:
        """Drop what rests on states that no longer exist."""
        super().forget()
        self._run_by(self.engine, self.foreach)

    def __getstate__(self) -> dict[str, Any]:
        names = ("engine", "foreach", "composition", "_host_of_pieces")
        return super().__getstate__() | {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # torch's load_state_dict comes by here too, with groups and states only
        engine, foreach = (state[n] if n in state else getattr(self, n) for n in ("engine", "foreach"))
        super().__setstate__({n: x for n, x in state.items() if n not in ("engine", "foreach")})
        for group in self.param_groups:
            for name, declared in self.hypers.items():
                group[name] = declared.check(group.get(name, self.defaults.get(name)), self.method.name)
        self._run_by(engine, foreach)
        self.forget()


def _declare(cls: type[RuleOptimizer]) -> None:
    """Give a class the constructor that follows from its declarations."""
    first = Parameter("params", Parameter.POSITIONAL_OR_KEYWORD, annotation=ParamsT | nn.Module)
    engine = Parameter("engine", Parameter.KEYWORD_ONLY, default="auto", annotation=Literal[NAMES])
    foreach = Parameter("foreach", Parameter.KEYWORD_ONLY, default=None, annotation=bool | None)
    declare(cls, first, by_position=True, others=[engine, foreach])
    cls.states = cls.method.states


_declare(RuleOptimizer)
