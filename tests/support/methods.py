"""The installed methods that tests are parametrised over; each list is made once, however many files ask for it."""

from __future__ import annotations

import functools
from typing import Any

import torch

import optim_core
from optim_core.catalog.registry import load_class
from optim_core.catalog.specs import OptimizerSpec, SchedulerSpec, Spec
from optim_core.optimizers.optimizer import RuleOptimizer
from support import small


@functools.cache
def optimizers(*, without: tuple[str, ...] = ()) -> tuple[OptimizerSpec, ...]:
    """All optimizers, or those that do not need certain things."""
    found = optim_core.find(kind="optimizer")
    return tuple(s for s in found if isinstance(s, OptimizerSpec) and not set(without) & set(s.needs))


@functools.cache
def open_ended() -> tuple[str, ...]:
    """Names of the optimizers that do not ask for the length of the run."""
    return tuple(spec.name for spec in optimizers(without=("total_steps",)))


@functools.cache
def of_torch() -> tuple[OptimizerSpec, ...]:
    """Methods of torch that go by its names; averaged SGD does not, whose name is that of another method here."""
    theirs = {name.lower() for name in vars(torch.optim)}
    return tuple(s for s in optimizers() if s.code == "https://github.com/pytorch/pytorch" and s.name in theirs)


@functools.cache
def rule_optimizers() -> tuple[str, ...]:
    """Names of the optimizers with a rule that need no more than gradients."""
    return tuple(spec.name for spec in optimizers() if not spec.needs and load_class(spec).method.rule is not None)


@functools.cache
def matrix_optimizers() -> tuple[str, ...]:
    """Names of the optimizers that work on whole matrices, and need no more than gradients."""
    return tuple(spec.name for spec in optimizers() if not spec.needs and works_on_matrices(load_class(spec)))


def works_on_matrices(cls: Any) -> bool:
    """Whether there are functions of stacks in a method's rule."""
    return issubclass(cls, RuleOptimizer) and cls(small.parameters((8, 6))).stacks()


@functools.cache
def wrappers() -> tuple[Spec, ...]:
    """All wrappers."""
    return tuple(optim_core.find(kind="wrapper"))


@functools.cache
def two_step_wrappers() -> tuple[str, ...]:
    """Names of the wrappers that can be driven by hand, with a second evaluation of the loss."""
    return tuple(spec.name for spec in wrappers() if hasattr(optim_core.get_wrapper(spec.name), "first_step"))


@functools.cache
def schedulers() -> dict[str, SchedulerSpec]:
    """All schedulers, by name."""
    return {spec.name: spec for spec in optim_core.find(kind="scheduler") if isinstance(spec, SchedulerSpec)}
