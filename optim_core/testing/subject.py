"""A subject: what is checked, and how it is built and driven; all of it follows from what it declares."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.optimizer import Optimizer

from optim_core.catalog.installed import Entry
from optim_core.catalog.needs import Need
from optim_core.catalog.packs import Pack
from optim_core.catalog.registry import load_class, registry
from optim_core.catalog.specs import KindName, Spec
from optim_core.catalog.strangers import described
from optim_core.errors import NotOffered, PackBroken, WrapperConflict
from optim_core.methods.declarations import REQUIRED, Hyper
from optim_core.names import normalise
from optim_core.optimizers.gradients import parameters
from optim_core.optimizers.needs import declared_needs, has_modes
from optim_core.optimizers.optimizer import RuleOptimizer
from optim_core.stepping import minimize
from optim_core.testing import small
from optim_core.testing.bases import BASES
from optim_core.wrapping.wrapper import Wrapper

#: The length of the run, for methods that want to be told.
TOTAL_STEPS = 100


@dataclass(frozen=True, eq=False)
class Subject:
    """A class under test.

    Attributes:
        target: the class, or the callable that a spec names.
        options: what it is built with, beside the parameters (or the base, or the optimizer).
        entry: its spec and its pack, if a pack brings it.
        broken: why the class that the spec names cannot be loaded; empty if it can.
        bases: what a wrapper is put around: the first of them that it goes around.
    """

    target: Any
    options: Mapping[str, Any] = field(default_factory=dict)
    entry: Entry | None = None
    broken: str = ""
    bases: tuple[Any, ...] = BASES

    @classmethod
    def of_entry(cls, entry: Entry) -> Subject:
        """A method of an installed pack."""
        try:
            return cls(load_class(entry.spec), entry=entry)
        except PackBroken as error:
            return cls(None, entry=entry, broken=str(error))

    @classmethod
    def named(cls, name: str) -> Subject:
        """A method by its name, as for :func:`optim_core.get`."""
        return cls.of_entry(registry().entry(name))

    # what it is ---------------------------------------------------------------------------------------------
    @property
    def shortfall(self) -> str:
        """What its spec says that it cannot do."""
        return str(getattr(self.spec, "shortfall", ""))

    @property
    def spec(self) -> Spec | None:
        """Its spec, if a pack brings it."""
        return None if self.entry is None else self.entry.spec

    @cached_property
    def name(self) -> str:
        """What reports call it."""
        return (
            self.entry.full_name if self.entry is not None else getattr(self.target, "__qualname__", str(self.target))
        )

    @cached_property
    def kind(self) -> KindName:
        """Whether it is an optimizer, a scheduler or a wrapper."""
        if self.spec is not None:
            return self.spec.kind
        if isinstance(self.target, type) and issubclass(self.target, LRScheduler):
            return "scheduler"
        return "wrapper" if isinstance(self.target, type) and issubclass(self.target, Wrapper) else "optimizer"

    @property
    def is_rule(self) -> bool:
        """Whether it is written as one update rule."""
        return self.is_declared and self.kind == "optimizer" and self.target.method.rule is not None

    @property
    def is_declared(self) -> bool:
        """Whether its options are declared, as those of our base classes are."""
        return isinstance(self.target, type) and issubclass(self.target, (RuleOptimizer, Wrapper))

    @property
    def hypers(self) -> Mapping[str, Hyper]:
        """The declared options."""
        return self.target.hypers if self.is_declared else {}

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """Every option that has a default, with it."""
        if self.is_declared:
            return {name: h.default for name, h in self.hypers.items() if h.default is not REQUIRED}
        try:
            parameters = inspect.signature(self.target).parameters.values()
        except (TypeError, ValueError):
            return {}
        return {q.name: q.default for q in parameters if q.default is not q.empty}

    @cached_property
    def needs(self) -> frozenset[Need]:
        """What it declares to need, by spec or class."""
        needs = set(self.spec.needs) if self.spec is not None else set()
        needs |= getattr(self.target, "needs", None) or set()
        if self.kind == "optimizer" and isinstance(self.target, type) and issubclass(self.target, Optimizer):
            needs |= declared_needs(self.target)
            step = inspect.signature(self.target.step).parameters.get("closure")
            needs |= {"closure"} if step is not None and step.default is step.empty else set()
        return frozenset(needs)

    @property
    def is_buildable(self) -> bool:
        """Whether parameters are enough to build it: not for a wrapper that wants something from a certain model."""
        arguments = set(getattr(self.target, "arguments", ())) - set(getattr(self.target, "argument_defaults", ()))
        return self.kind != "scheduler" and arguments <= {"model"}

    # how it is built ----------------------------------------------------------------------------------------
    def build(self, params: Sequence[Any], *, lr: Any = None, **options: Any) -> Any:
        """The optimizer on parameters or groups; a wrapper on a base that it goes around.

        Args:
            params: parameters, or groups.
            lr: the learning rate, of a wrapper's base; None for the usual one.
            options: others than the usual ones.
        """
        if "named_params" in self.needs:
            params = _named(params)
        return self._built(params, lr, options)

    def _built(self, params: Sequence[Any], lr: Any, options: Mapping[str, Any]) -> Any:
        if self.kind == "wrapper":
            return self._wrapped(params, lr, {**self._required, **self.options, **options})
        given = {"total_steps": TOTAL_STEPS} if {"total_steps"} <= self.needs & self.defaults.keys() else {}
        own = {**self._required, **given, **self.options, **({} if lr is None else {"lr": lr}), **options}
        optimizer = self.target(params, **own)
        if not self.is_declared and has_modes(optimizer):
            optimizer.train()  # schedulefree's begin in neither mode, and want to be told before the first step
        return optimizer

    def build_plainly(self, params: Sequence[Tensor], *, named: bool) -> Any:
        """The optimizer on parameters with or without names, whatever it needs."""
        return self._built(_named(params) if named else params, None, {})

    def group(self, params: Sequence[Tensor], start: int, **entries: Any) -> dict[str, Any]:
        """A group for ``add_param_group``, behind so many parameters."""
        return {"params": _named(params, start) if "named_params" in self.needs else [*params], **entries}

    @cached_property
    def _required(self) -> dict[str, Any]:
        """Options that must be given, or of which one must, each None by default: the middle of their range."""
        return {
            name: (h.search[0] * h.search[1]) ** 0.5
            for name, h in self.hypers.items()
            if h.search and (h.default is REQUIRED or (h.default is None and self.kind == "wrapper"))
        }

    def _wrapped(self, params: Sequence[Any], lr: Any, options: dict[str, Any]) -> Any:
        """Around the first of the bases that the wrapper goes around."""
        refusals = []
        for base in self.bases:
            inner = base(params, lr=0.05 if lr is None else lr)
            arguments = {"model": _Model(inner)} if "model" in getattr(self.target, "arguments", ()) else {}
            try:
                return self.target(inner, **arguments, **options)
            except (NotOffered, WrapperConflict) as refusal:
                refusals.append(refusal)
        raise refusals[-1]

    def around_each_base(self) -> list[Subject]:
        """The subject itself; a wrapper around each base by itself."""
        return [replace(self, bases=(base,)) for base in self.bases] if self.kind == "wrapper" else [self]

    @property
    def usual_lr(self) -> float:
        """A learning rate at which it does something."""
        default = self.options.get("lr", self.defaults.get("lr"))
        return float(default) if isinstance(default, (int, float)) and default > 0 else 0.05

    def params(self, *shapes: tuple[int, ...], dtype: torch.dtype | None = None) -> list[Parameter]:
        """Parameters of these shapes, or a matrix and a vector; matrices only, for a class that refuses others."""
        shapes = shapes or ((3, 4), (5,))
        if self._takes_matrices_only:
            shapes = tuple(shape if len(shape) == 2 else (4, max((*shape, 3))) for shape in shapes)
        return small.some(*shapes, dtype=dtype or self.dtype)

    @property
    def dtype(self) -> torch.dtype:
        """That of its parameters: plain classes may keep numbers in the default type, as torch's NAdam does."""
        return torch.float64 if self.is_declared else torch.float32

    @cached_property
    def _takes_matrices_only(self) -> bool:
        for shapes, refused in ((((5,), ()), False), (((3, 4),), True)):
            try:
                self.build(small.some(*shapes))
            except Exception:  # noqa: BLE001 - what it raises for all parameters alike shows elsewhere
                if refused:
                    return False
            else:
                return refused
        return False

    # how it is driven ---------------------------------------------------------------------------------------
    def train(self, optimizer: Any, params: Sequence[Tensor], steps: range | int = small.STEPS, **terms: float) -> None:
        """Steps on one batch, or on those of a range; ``noise`` and ``coupling`` are those of the closure."""
        for t in steps if isinstance(steps, range) else [0] * steps:
            minimize(optimizer, small.closure(params, t, several="multi_loss" in self.needs, **terms))

    @cached_property
    def obstacle(self) -> str | None:
        """What keeps it from taking steps, or None."""
        if self.broken:
            return self.broken
        try:
            params = self.params()
            with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
                warnings.simplefilter("ignore")
                self.train(self.build(params), params, 2)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - strangers' code may raise anything
            return described(error)
        return None

    @cached_property
    def is_separate(self) -> bool:
        """Whether parameters share nothing: beside others, each goes the way that it goes alone."""
        ends = []
        for together in (True, False):
            params = self.params((3, 4), (4, 3))
            with torch.random.fork_rng(devices=[]):
                for held in [params] if together else [[p] for p in params]:
                    torch.manual_seed(0)
                    self.train(self.build(held), held)
            ends.append(params)
        return small.equal(*ends)

    @cached_property
    def takes_groups(self) -> bool:
        """Whether it takes several groups; LBFGS, for one, says that it does not."""
        a, b = self.params()
        try:
            self.build([{"params": [a]}, {"params": [b]}])
        except (ValueError, TypeError):
            return False
        return True

    def __repr__(self) -> str:
        return self.name


class _Model(torch.nn.Module):
    """A model that holds an optimizer's parameters, for wrappers that want one."""

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__()
        self.held = torch.nn.ParameterList(parameters(optimizer))


def _named(params: Sequence[Any], start: int = 0) -> list[Any]:
    """The same with names, like those of layers."""
    named: list[Any] = []
    for x in params:
        if isinstance(x, dict):
            named.append({**x, "params": _named([*x["params"]], start)})
            start += len(x["params"])
        else:
            named.append((f"layer{start}.{'weight' if x.ndim > 1 else 'bias'}", x))
            start += 1
    return named


@dataclass(frozen=True, eq=False)
class PackSubject:
    """A pack as a whole: its manifest and its distribution."""

    pack: Pack
    broken: str = ""
    kind: ClassVar[str] = "pack"
    obstacle: ClassVar[None] = None

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.pack.name

    def __repr__(self) -> str:
        return self.name


def subjects_of(pack: str) -> list[Subject | PackSubject]:
    """A pack and its methods.

    Raises:
        UnresolvedName: it is unknown, not installed, broken or switched off.
    """
    entries = registry().entries_of(pack)
    found = next(p for p in registry().packs if normalise(p.name) == normalise(pack))
    return [PackSubject(found), *map(Subject.of_entry, entries)]
