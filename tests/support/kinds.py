"""Kinds of methods, told by specs and declarations, and some methods of each: what hosts treat alike."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import optim_core
from optim_core.catalog.registry import load_class
from optim_core.catalog.specs import Spec
from optim_core.optimizers import RuleOptimizer
from optim_core.rules import Level
from optim_core.wrapping.transform_wrapper import TransformWrapper
from support import methods, small
from support.wrappers import base_only_specs, required_options

#: Kinds of methods by a need that tells them; the first that applies.
BY_NEED = {
    "create_graph": "differentiates gradients",
    "closure": "evaluates the loss more than once",
    "multi_loss": "merges the gradients of several losses",
    "loss": "goes by the loss",
    "train_eval_mode": "is evaluated at another point",
}
MATRICES = "works on matrices"
#: How far what it makes of an element depends on others.
BY_REACH = {
    Level.ELEMENT: "works element by element",
    Level.TENSOR: "takes each row or tensor by itself",
    Level.WHOLE: "sums over the model, or draws",
}
#: Kinds that only wrappers have.
SEVERAL_CALLS = "takes several calls for a step"
AROUND = "acts around the step"
RELEASES = "steps in the middle of backward"


@dataclass(frozen=True)
class Kind:
    """A method, or a wrapper around a method of torch's, and its kind.

    Attributes:
        spec: of the method or wrapper.
        words: the kind, as documents have it.
    """

    spec: Spec
    words: str

    @property
    def row(self) -> str:
        """The row of a table in which it belongs."""
        return f"a wrapper that {self.words}" if self.spec.kind == "wrapper" else f"a method that {self.words}"

    def make(self, params: Any, *, inner: Any = None, **options: Any) -> Any:
        """The optimizer, over parameters or names with parameters; what a wrapper goes around may be given."""
        cls: Any = load_class(self.spec)  # which warns of no licence
        if self.spec.kind == "wrapper":
            inner = inner or optim_core.get("adamw")
            return cls(inner(params, lr=0.01, weight_decay=0.0, **options), **required_options(cls))
        more = {"total_steps": 16} if "total_steps" in self.spec.needs else {}
        return cls(params, **more, **options)

    def needs(self, need: str) -> bool:
        """Whether it has a need."""
        return need in self.spec.needs


def _words(spec: Spec) -> str:
    by_need = [words for need, words in BY_NEED.items() if need in spec.needs]
    if by_need:
        return by_need[0]
    cls: Any = load_class(spec)
    if spec.kind == "wrapper" and not issubclass(cls, TransformWrapper):
        return SEVERAL_CALLS if cls.accumulates else RELEASES if cls.releases else AROUND
    if spec.kind == "optimizer" and not issubclass(cls, RuleOptimizer):
        return BY_REACH[Level.WHOLE]
    optimizer = Kind(spec, "").make(small.named(small.parameters()))
    if spec.kind == "optimizer" and optimizer.stacks():
        return MATRICES
    return BY_REACH[optimizer.reach(optimizer.param_groups[0])]


@functools.cache
def all_kinds() -> tuple[Kind, ...]:
    """Every optimizer, and every wrapper that needs only a base."""
    return tuple(Kind(spec, _words(spec)) for spec in (*methods.optimizers(), *base_only_specs()))


@functools.cache
def some_of_each(number: int = 2) -> tuple[Kind, ...]:
    """The first and the last by name of each kind."""
    rows: dict[str, list[Kind]] = defaultdict(list)
    for kind in all_kinds():
        rows[kind.row].append(kind)
    return tuple(kind for row in rows.values() for kind in _ends(row, number))


def _ends(row: list[Kind], number: int) -> Iterator[Kind]:
    yield from row[:1]
    yield from row[max(1, len(row) - number + 1) :]
