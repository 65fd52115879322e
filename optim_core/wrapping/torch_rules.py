"""What torch's own optimizers divide by, as it follows from their options and from the state that they keep.

A TorchRule is written like a rule: it takes states by position and options by name, and names what an optimizer divides
by with the words of :mod:`optim_core.rules.offers`. It is traced for what comes after the optimizer's step. What torch
divides by and then keeps (Adadelta, RMSprop's momentum) cannot be changed from outside, so it is not called a
denominator.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch.optim.optimizer import Optimizer

from optim_core.rules import Level, Trace, Value, denominator, gain, maximum, root, second_moment, square
from optim_core.rules.options import scalars


@dataclass(frozen=True)
class TorchRule:
    """The names that one of torch's optimizers would give in its rule.

    Attributes:
        names: called as ``names(*states, **options)``; ``step``, if it takes one, is the parameter's.
    """

    names: Callable[..., None]

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
        """
        states = [trace.input(name, Level.ELEMENT) for name in self.states]
        asked = (*self.options, "step") if self.takes_step else self.options
        self.names(*states, **scalars({name: options[name] for name in asked}, trace))


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


_TORCH_RULES: Mapping[type[Optimizer], TorchRule] = {
    torch.optim.Adam: TorchRule(_adam),  # and AdamW, which is one
    torch.optim.NAdam: TorchRule(_nadam),
    torch.optim.RAdam: TorchRule(_radam),
    torch.optim.Adamax: TorchRule(_adamax),
    torch.optim.Adagrad: TorchRule(_adagrad),
    torch.optim.RMSprop: TorchRule(_rmsprop),
    torch.optim.SGD: TorchRule(_sgd),
}


def torch_rule_of(cls: type[Optimizer]) -> TorchRule | None:
    """The rule of a class of torch's, or of one derived from it; None for any other."""
    return next((_TORCH_RULES[base] for base in cls.__mro__ if base in _TORCH_RULES), None)
