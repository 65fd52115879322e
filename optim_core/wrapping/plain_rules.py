"""What plain optimizers divide by, as it follows from their options and from the state that they keep.

torch's own are listed here; for others, the spec of their pack names a function (``offers``).

A PlainRule is written like a rule: it takes states by position and options by name, and names what an optimizer divides
by with the words of :mod:`optim_core.rules.offers`. It is traced for what comes after the optimizer's step. What torch
divides by and then keeps (Adadelta, RMSprop's momentum) cannot be changed from outside, so it is not called a
denominator.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from torch.optim.optimizer import Optimizer

from optim_core.catalog.registry import registry
from optim_core.catalog.specs import OptimizerSpec
from optim_core.catalog.strangers import contained
from optim_core.catalog.targets import import_target
from optim_core.errors import PackBroken, SpecError
from optim_core.rules import Level, Trace, Value, denominator, gain, maximum, root, second_moment, square
from optim_core.rules.options import scalars


@dataclass(frozen=True)
class PlainRule:
    """The names that a plain optimizer would give in its rule.

    Attributes:
        names: called as ``names(*states, **options)``; ``step``, if it takes one, is the parameter's.
        source: where that is found, for messages.
    """

    names: Callable[..., object]
    source: str = "torch"

    @cached_property
    def states(self) -> tuple[str, ...]:
        """The names of the states that it takes."""
        return tuple(q.name for q in self._parameters if q.kind is q.POSITIONAL_OR_KEYWORD)

    @cached_property
    def options(self) -> tuple[str, ...]:
        """The names of the options that it takes, without ``step``."""
        return tuple(q.name for q in self._parameters if q.kind is q.KEYWORD_ONLY and q.name != "step")

    @cached_property
    def takes_step(self) -> bool:
        """True if it depends on the number of the step."""
        return "step" in inspect.signature(self.names).parameters

    @property
    def _parameters(self) -> list[inspect.Parameter]:
        return list(inspect.signature(self.names).parameters.values())

    def __call__(self, trace: Trace, options: Mapping[str, Any]) -> None:
        """Name on a trace what the optimizer has divided by.

        Args:
            trace: the trace.
            options: numbers and options as they are, by name, with ``step`` if :attr:`takes_step`.

        Raises:
            SpecError: a function of a pack asks for an option that is not there, or fails.
        """
        states = [trace.input(name, Level.ELEMENT) for name in self.states]
        asked = (*self.options, "step") if self.takes_step else self.options
        missing = [name for name in asked if name not in options]
        if missing:
            raise self.wrong(f"asks for {missing[0]!r}, which is no entry of its parameter groups")
        given = scalars({name: options[name] for name in asked}, trace)
        with contained(self.wrong):
            self.names(*states, **given)

    def wrong(self, problem: str) -> SpecError:
        """The error for a function that does not fit its class."""
        return SpecError(f"{self.source} {problem}. It should take states by position and options by keyword")


def _adam(
    exp_avg_sq: Value, max_exp_avg_sq: Value, *, betas: tuple[Value, Value], eps: Value, amsgrad: bool, step: Value
) -> None:
    v = max_exp_avg_sq if amsgrad else exp_avg_sq
    _corrected(v, betas[1], eps, step)


def _nadam(exp_avg_sq: Value, *, betas: tuple[Value, Value], eps: Value, step: Value) -> None:
    _corrected(exp_avg_sq, betas[1], eps, step)


def _radam(exp_avg_sq: Value, *, betas: tuple[Value, Value], eps: Value, step: Value) -> None:
    beta2, c2 = betas[1], 1 - betas[1] ** step
    length = 2 / (1 - beta2) - 1 - 2 * step * beta2**step / c2
    if length > 5:
        root(second_moment(exp_avg_sq, c2), eps, c2, outside=True)


def _corrected(v: Value, beta2: Value, eps: Value, step: Value) -> None:
    c2 = 1 - beta2**step
    root(second_moment(v, c2), eps, c2)


def _adamax(exp_inf: Value) -> None:
    denominator(exp_inf)


def _adagrad(sum: Value, *, lr: Value, lr_decay: Value, eps: Value, step: Value) -> None:  # noqa: A002 - torch's name
    root(second_moment(sum), eps)
    gain(lr, 1 / (1 + (step - 1) * lr_decay))


def _rmsprop(square_avg: Value, grad_avg: Value, *, lr: Value, eps: Value, momentum: Value, centered: bool) -> None:
    v = maximum(square_avg - square(grad_avg), 0.0) if centered else square_avg
    second_moment(v)
    if momentum:
        gain(lr, 1 / (1 - momentum))
    else:
        root(v, eps)


def _sgd(*, lr: Value, momentum: Value, dampening: Value) -> None:
    gain(lr, (1 - dampening) / (1 - momentum) if momentum else 1.0)


_TORCH_RULES: Mapping[type[Optimizer], PlainRule] = {
    torch.optim.Adam: PlainRule(_adam),  # and AdamW, which is one
    torch.optim.NAdam: PlainRule(_nadam),
    torch.optim.RAdam: PlainRule(_radam),
    torch.optim.Adamax: PlainRule(_adamax),
    torch.optim.Adagrad: PlainRule(_adagrad),
    torch.optim.RMSprop: PlainRule(_rmsprop),
    torch.optim.SGD: PlainRule(_sgd),
}


def plain_rule_of(cls: type[Optimizer]) -> PlainRule | None:
    """The rule of a class, or of the nearest of its bases that has one: torch's, or one whose spec names it.

    Raises:
        PackBroken: what the spec names cannot be imported.
    """
    for base in cls.__mro__:
        if base in _TORCH_RULES:
            return _TORCH_RULES[base]
        for entry in registry().entries_at(base, "offers"):
            if isinstance(entry.spec, OptimizerSpec):
                return _declared(entry.full_name, entry.spec.offers)
    return None


def _declared(name: str, target: str) -> PlainRule:
    def broken(reason: str) -> PackBroken:
        return PackBroken(f"{name!r}: what it divides by cannot be told, {target} fails: {reason}")

    with contained(broken):
        return _rule_from(import_target(target), f"{target}, the offers of {name!r},")


@cache
def _rule_from(function: Callable[..., object], source: str) -> PlainRule:
    rule = PlainRule(function, source)
    _ = rule.states, rule.options  # what has no signature fails here
    return rule
