"""RuleOptimizer: the one base class of every method."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, ParamsT

from optim_core.engines.choice import NAMES, check_request
from optim_core.engines.sharded import first_of, is_sharded
from optim_core.engines.tensors import compute_dtype, real
from optim_core.errors import GraphMissing, OptimCoreError, UnknownOption, UnsupportedParameter
from optim_core.methods.declarations import Hyper, State, hyper, required, setting
from optim_core.methods.method import Method, read_class
from optim_core.methods.step import largest_lr
from optim_core.methods.update import Update
from optim_core.optimizers import checkpoint
from optim_core.optimizers.closures import drop_graph, evaluate
from optim_core.optimizers.explanation import Explanation, decay_text, explained
from optim_core.optimizers.gradients import check_gradient, parameters
from optim_core.rules.options import GIVEN
from optim_core.rules.transform import Attachment, Keeper, Transform, qualified, transforms_for
from optim_core.rules.values import Level


# hyper() and the like are no field specifiers: type checkers would look for `default=` in them, whereas any other
# value on the right is a default.
@typing.dataclass_transform(field_specifiers=(setting, required))
class _Declared(Optimizer):
    """Tells type checkers that a subclass's constructor follows from its annotated options."""


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
        UnsupportedParameter: a parameter is neither floating-point nor complex, or is sharded (DTensor) where the
            method works on whole matrices.

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

    params: ParamsT | nn.Module = required()
    maximize: bool = setting(default=hyper(False, "ascend instead of descend"), kw_only=True)
    rounding: str = setting(
        default=hyper(
            "nearest",
            "how bfloat16 parameters take their new values; 'stochastic' and 'kahan' keep small steps from being lost",
            choices=("nearest", "stochastic", "kahan"),
        ),
        kw_only=True,
    )
    engine: Literal["auto", "eager", "native", "triton"] = setting(default="auto", kw_only=True)
    foreach: bool | None = setting(default=None, kw_only=True)

    method: ClassVar[Method]
    hypers: ClassVar[Mapping[str, Hyper]]
    states: ClassVar[Mapping[str, State]]

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        _declare(cls)

    if not typing.TYPE_CHECKING:  # type checkers derive the constructor from the declarations

        def __init__(self, params, *args, **options):
            options = _bind(type(self), args, options)
            self._run_by(options.pop("engine", "auto"), options.pop("foreach", None))
            given = self.method.check(options)
            self._attachments = ()
            self._generators = {}
            defaults = {name: h.default for name, h in self.hypers.items()} | given
            groups = self.groups_of(params) if isinstance(params, nn.Module) else params
            super().__init__(groups, self.resolve(defaults, frozenset(given)))

        @property
        def engine(self):
            """What runs the update."""
            return self._update.engine

        @engine.setter
        def engine(self, value):
            self._run_by(value, self.foreach)

        @property
        def foreach(self):
            """How the eager engine runs it."""
            return self._update.foreach

        @foreach.setter
        def foreach(self, value):
            self._run_by(self.engine, value)

    def _run_by(self, engine: str, foreach: bool | None) -> None:
        check_request(engine, foreach, self.method.name)
        self._update = Update(self.method, engine, foreach)

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """Settle options that depend on each other; called for the constructor and for each group with its own.

        Args:
            options: all options, by name; for a group, the constructor's settled ones where it gives none.
            given: the names that the caller gave here.

        Raises:
            InvalidOption: they contradict each other.
        """
        del given
        return options

    @classmethod
    def groups_of(cls, model: nn.Module) -> list[dict[str, Any]]:
        """Parameter groups, with names, for a whole model.

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
            self._check_parameters(self.param_groups[-1])
            self.on_group(self.param_groups[-1])
        except OptimCoreError:
            self.param_groups.pop()
            raise

    def _check_parameters(self, group: Mapping[str, Any]) -> None:
        self.method.check_rounding(group, group["params"])
        for p in group["params"]:
            if not (p.is_floating_point() or p.is_complex()):
                raise UnsupportedParameter(
                    f"{self.method.name} works on floating-point parameters, not on one of {p.dtype}"
                )
            if is_sharded(p) and self._stacks(p, group):
                raise UnsupportedParameter(
                    f"{self.method.name} works on whole matrices, and a parameter of shape {tuple(p.shape)} is sharded "
                    "(a DTensor, as FSDP makes them): choose a method without them, such as adamw, or do not shard"
                )

    def on_group(self, group: dict[str, Any]) -> None:
        """Called for each new group, while its parameters have their first values."""
        del group

    @property
    def whole(self) -> dict[str, Any]:
        """State of the model as a whole: step count, states on level WHOLE, generators' states."""
        entries: dict[Any, Any] = self.state  # torch keeps entries whose key is no tensor
        return entries.setdefault("whole", {})  # type: ignore[no-any-return]

    @property
    def whole_step(self) -> int:
        """How many steps a method that counts them has done for the model as a whole."""
        entries: dict[Any, Any] = self.state
        return int(entries.get("whole", {}).get("step", 0))

    def generator(self, device: torch.device) -> torch.Generator:
        """The source of random draws on a kind of device; its state is part of the state dict."""
        if device.type not in self._generators:
            generator = torch.Generator(device)
            saved = self.whole.get(f"generator_{device.type}")
            if saved is None:
                generator.manual_seed(torch.initial_seed())
            else:
                generator.set_state(saved.cpu())
            self._generators[device.type] = generator
        return self._generators[device.type]

    def start_state(self, p: Tensor, group: Mapping[str, Any]) -> bool:
        """Create the states that a parameter should have and has not; True if it keeps none from before."""
        mine = self.state[p]
        kept = any(name in mine for name, declared in self.method.local.items() if not declared.rounds)
        started = False
        for name, declared in self.method.local.items():
            if name not in mine and not (declared.rounds and p.dtype is not torch.bfloat16):
                value = _start(declared, p, group)
                if value is not None:
                    mine[name] = value
                    started = True
                    if name == "salt":
                        value.fill_(len(self.state))
        return not kept and (started or not mine.setdefault("step", 0))

    def state_bytes(self) -> int:
        """Bytes of state once every parameter has had a gradient; single numbers for the model not counted."""
        return sum(self.state_bytes_of(p, group) for group in self.param_groups for p in group["params"])

    def state_bytes_of(self, p: Tensor, group: Mapping[str, Any]) -> int:
        """The same for one parameter."""
        size = 0
        for name, declared in self.method.local.items():
            if declared.rounds and p.dtype is not torch.bfloat16:
                continue
            shapes = declared.shapes(tuple(real(p).shape), group)
            for shape in shapes if isinstance(shapes, list) else [shapes]:
                size += torch.Size(shape).numel() * self._state_dtype(name, p).itemsize if shape is not None else 0
        return size

    def _state_dtype(self, name: str, p: Tensor) -> torch.dtype:
        declared = self.method.local.get(name)
        rounds = declared is not None and declared.rounds and declared.level is Level.ELEMENT
        return p.dtype if rounds else compute_dtype(real(p))

    def explain(self) -> Explanation:
        """What is in force for each parameter, and why; print it."""
        how = {"l2": "L2, in the gradient", "decoupled": "decoupled", None: "in the update"}

        def facts(p: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
            decay = decay_text(group, how[self.method.settings(group, ()).decay])
            engine = self._update.engine_of(p, real(p.detach()))
            return {"decay": decay, "engine": engine, "state_bytes": self.state_bytes_of(p, group)}

        return explained(self, facts)

    # what is composed with the rule -------------------------------------------------------------------------
    @property
    def transforms(self) -> tuple[Transform, ...]:
        """What is composed with the rule, in the order in which a gradient passes."""
        return tuple(attachment.transform for attachment in self._attachments)

    def add_transform(
        self, transform: Transform, keeper: Keeper | None = None, *, excluded: Collection[Tensor] = ()
    ) -> None:
        """Compose a transform with the rule; a gradient passes it before those already there.

        Args:
            transform: what to compose.
            keeper: holds what the transform keeps, and has its numbers.
            excluded: parameters that it leaves alone; more may join later, together with their group.
        """
        attachment = Attachment(transform, excluded, keeper)
        self._attachments: tuple[Attachment, ...] = (attachment, *self._attachments)
        self._update.forget()

    def stacks(self) -> bool:
        """Whether the rule calls functions of stacks for some parameter, which sums over all of them do not go with."""
        return any(self._stacks(p, group) for group in self.param_groups for p in group["params"])

    def _stacks(self, p: Tensor, group: Mapping[str, Any]) -> bool:
        given = dict.fromkeys(GIVEN, 1.0) | {"largest_lr": largest_lr(self.param_groups)}
        return self._update.stacks({name: group[name] for name in self.hypers} | given, tuple(real(p).shape))

    def extras(self, params: Sequence[Tensor]) -> Mapping[str, Sequence[Tensor]]:
        """Compute the extra inputs of this step, for the parameters that have a gradient.

        Returns:
            By name one tensor for each parameter, of its shape; the rule gets None for a name left out.
        """
        del params
        return {}

    @property
    def needs_graph(self) -> bool:
        """Whether the next step differentiates the gradients: ``loss.backward(create_graph=True)``."""
        return False

    #: Whether a step uses the value of the loss that its gradients belong to.
    needs_loss: ClassVar[bool] = False

    # stepping -----------------------------------------------------------------------------------------------
    def minimize(self, closure: Callable[[], Tensor]) -> Tensor:
        """Do everything for one step: zero the gradients, evaluate, backward, update.

        Args:
            closure: computes and returns the loss, a 0-d tensor; nothing else. Or yields it in parts, whose sum it is,
                so that only one part's graph is in memory: gradient accumulation, for any method.

        Returns:
            The loss before the step, detached.

        Raises:
            ClosureError: the closure returns no loss or several, or has called backward itself.
        """
        loss: Tensor = self.collect(lambda: self.evaluate(closure))
        self.step()
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
        """Inside a wrapper, whether the gradients at hand make a step; see :meth:`optim_core.wrapping.Wrapper.prepare`.

        A method raises here what it would raise in ``step()`` for where the gradients were taken.
        """
        return not overflow

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters from their gradients.

        Args:
            closure: if given, called first, with gradients enabled: it zeroes the gradients, evaluates, and calls
                backward, as for every torch optimizer.

        Returns:
            What the closure returned, or None.

        Raises:
            SparseGradient, UnsupportedParameter, GraphMissing: before anything is changed.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = self.collect(closure)
        found_inf = getattr(self, "found_inf", None)  # GradScaler sets it, and grad_scale, for the time of the call
        if found_inf is None or not float(found_inf):
            self._update.step(self)
        return loss

    @property
    def _step_supports_amp_scaling(self) -> bool:
        """Tells GradScaler that gradients may stay scaled: the rule divides, and a step with inf or nan is left out.

        What a method derives from the gradients itself would be scaled, so one with extra inputs has them unscaled.
        """
        return not self.method.extras

    # what a step asks for (optim_core.methods.step.Stepping) ---------------------------------------------------
    def checked_extras(self, params: Sequence[Tensor]) -> Mapping[str, Sequence[Tensor]]:
        """Refuse gradients that the method cannot work with; compute the extra inputs, and let go of graphs.

        Raises:
            SparseGradient, UnsupportedParameter, GraphMissing: before anything is changed.
        """
        for p in params:
            check_gradient(p, self.method.name)
        self._check_graph(params)
        extras = self.extras(params)
        if self.method.extras:
            drop_graph(params)
        return extras

    def transforms_of(self, p: Tensor) -> tuple[Transform, ...]:
        """What is composed with the rule for a parameter."""
        return transforms_for(self._attachments, p)

    def transform_numbers(self) -> dict[str, float]:
        """The numbers that transforms take beside the method's options."""
        return {
            qualified(position, name): number
            for position, attachment in enumerate(self._attachments)
            if attachment.keeper is not None
            for name, number in attachment.keeper.numbers().items()
        }

    def memories_of(self, p: Tensor) -> dict[int, dict[str, Tensor]]:
        """The tensors that transforms keep for a parameter, by the transform's position; at first the parameter."""
        memories: dict[int, dict[str, Tensor]] = {}
        pairs = zip(self.transforms_of(p), self._attachments, strict=True)
        for position, (transform, attachment) in enumerate(pairs):
            if transform.keeps and attachment.keeper is not None:
                memories[position] = memory = attachment.keeper.memory.setdefault(p, {})
                for name in transform.keeps:
                    if name not in memory:
                        memory[name] = p.detach().to(_kept_dtype(p), copy=True)
        return memories

    def _check_graph(self, params: Sequence[Tensor]) -> None:
        # one gradient alone may lack it: the loss may be linear in that parameter
        if params and self.needs_graph and not any(p.grad is not None and p.grad.requires_grad for p in params):
            raise GraphMissing(
                f"{self.method.name} differentiates the gradients in this step, but they carry no graph: call "
                "loss.backward(create_graph=True) while optimizer.needs_graph is true, or optimizer.minimize(closure), "
                "which does it where it is needed"
            )

    # saving -------------------------------------------------------------------------------------------------
    def state_dict(self) -> dict[str, Any]:
        """The state as plain containers of tensors and numbers; ``torch.load(weights_only=True)`` accepts it.

        Parameters that were given by name carry their names along (``param_names`` in each group).
        """
        for kind, generator in self._generators.items():
            self.whole[f"generator_{kind}"] = generator.get_state()
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state, by names if both sides know them, otherwise by order.

        Raises:
            CheckpointMismatch: it comes from another model or another method; nothing is changed then.
        """
        state_dict = checkpoint.matched(state_dict, self.param_groups, self.method.name)
        checkpoint.check_states(state_dict, self.param_groups, self.method)
        super().load_state_dict(state_dict)
        # torch gives states the parameter's dtype and may share memory with the dict: neither is wanted
        for p, saved in zip(parameters(self), checkpoint.in_order(state_dict), strict=True):
            if saved:
                self.state[p] = checkpoint.restored(saved, p, functools.partial(self._state_dtype, p=p))
        if "whole" in state_dict["state"]:
            entries: dict[Any, Any] = self.state
            entries["whole"] = checkpoint.copied(state_dict["state"]["whole"])
        self._forget(self.engine, self.foreach)

    def _forget(self, engine: str, foreach: bool | None) -> None:
        """Drop what rests on states that are no more."""
        self._run_by(engine, foreach)
        self._generators: dict[str, torch.Generator] = {}

    def __getstate__(self) -> dict[str, Any]:
        for kind, generator in self._generators.items():
            self.whole[f"generator_{kind}"] = generator.get_state()
        own = {name: getattr(self, name) for name in ("engine", "foreach", "_attachments")}
        return super().__getstate__() | own

    def __setstate__(self, state: dict[str, Any]) -> None:
        # torch's load_state_dict comes by here too, with groups and states only
        engine, foreach = (state[n] if n in state else getattr(self, n) for n in ("engine", "foreach"))
        super().__setstate__({n: x for n, x in state.items() if n not in ("engine", "foreach")})
        for group in self.param_groups:
            for name, declared in self.hypers.items():
                group[name] = declared.check(group.get(name, self.defaults.get(name)), self.method.name)
        self._forget(engine, foreach)


def _declare(cls: type[RuleOptimizer]) -> None:
    """Read a class's declarations and give it the signature and documentation that follow from them."""
    cls.method = read_class(cls, getattr(cls, "method", None))
    cls.hypers, cls.states = cls.method.hypers, cls.method.states
    parameter = inspect.Parameter
    options = [
        parameter(
            h.name,
            parameter.KEYWORD_ONLY if h.name in _KEYWORD_ONLY else parameter.POSITIONAL_OR_KEYWORD,
            default=h.default,
            annotation=h.type,
        )
        for h in cls.hypers.values()
    ]
    settings = [
        parameter("engine", parameter.KEYWORD_ONLY, default="auto", annotation=Literal[NAMES]),
        parameter("foreach", parameter.KEYWORD_ONLY, default=None, annotation=bool | None),
    ]
    first = parameter("params", parameter.POSITIONAL_OR_KEYWORD, annotation=ParamsT | nn.Module)
    in_order = sorted([first, *options, *settings], key=lambda q: q.kind)
    cls.__signature__ = inspect.Signature(in_order)  # type: ignore[attr-defined]


_KEYWORD_ONLY = frozenset({"maximize", "rounding"})


def _bind(cls: type[RuleOptimizer], args: Sequence[Any], options: dict[str, Any]) -> dict[str, Any]:
    """Options by name, from what was given by position and by name."""
    positional = [name for name in cls.hypers if name not in _KEYWORD_ONLY]
    if len(args) > len(positional):
        raise UnknownOption(f"{cls.__name__} takes at most {len(positional)} options by position, not {len(args)}")
    for name in positional[: len(args)]:
        if name in options:
            raise UnknownOption(f"{cls.__name__}: {name!r} is given both by position and by name")
    return dict(zip(positional, args, strict=False)) | options


def _kept_dtype(p: Tensor) -> torch.dtype:
    return p.dtype if p.is_complex() else compute_dtype(p)


def _start(declared: State, p: Tensor, group: Mapping[str, Any]) -> Any:
    """The first value of a state: a tensor, a list of tensors, or None where there is no such state."""
    like = real(p.detach())
    shapes = declared.shapes(tuple(like.shape), group)
    if shapes is None:
        return None
    if isinstance(shapes, list):
        return [_first_value(declared, shape, like, group) for shape in shapes]
    return _first_value(declared, shapes, like, group)


def _first_value(declared: State, shape: tuple[int, ...], like: Tensor, group: Mapping[str, Any]) -> Tensor:
    dtype = like.dtype if declared.rounds else compute_dtype(like)
    if declared.start == "p":
        every = int(group[declared.every]) if declared.every else 1
        value = like if every == 1 else like.reshape(-1)[::every]
        return value.to(dtype, copy=True)
    start = float(group[declared.start] if isinstance(declared.start, str) else declared.start)
    if shape == tuple(like.shape):
        return torch.full_like(like, start, dtype=dtype)
    if is_sharded(like):
        return torch.full_like(first_of(like, shape), start, dtype=dtype)
    return torch.full(shape, start, dtype=dtype, device=like.device)


_declare(RuleOptimizer)
