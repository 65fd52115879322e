"""Which methods name a denominator, a second moment or a gain, found by tracing their rules; how to run one of them."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from optim_core.catalog.registry import load_class
from optim_core.rules import Offers
from optim_core.wrapping.offerings import offered
from support import methods, small


@functools.cache
def rule_classes() -> Mapping[str, Any]:
    """By name the class of every method with a rule."""
    found = {spec.name: load_class(spec) for spec in methods.optimizers()}
    return {name: cls for name, cls in found.items() if cls.method.rule is not None}


@functools.cache
def offers() -> Mapping[str, Offers]:
    """What each of them names with its options at their defaults."""

    def defaults(cls: Any) -> dict[str, Any]:
        return cls.resolve({name: h.default for name, h in cls.hypers.items()}, frozenset())

    return {name: offered(cls, defaults(cls)) for name, cls in rule_classes().items()}


def with_denominator() -> list[str]:
    """Methods that softplus can act on."""
    return [name for name, found in offers().items() if found.denominators]


def with_pace() -> list[str]:
    """Methods that name how fast they go, by a second moment or a gain: stable weight decay can act on them."""
    return [name for name, found in offers().items() if found.second_moment is not None or found.gain is not None]


def parameters() -> list[Parameter]:
    """A matrix, a vector and a number; what draws draws the same for each."""
    torch.manual_seed(0)
    return small.parameters((3, 4), (5,), ())


def loss(params: Sequence[Tensor], t: int) -> Tensor:
    """That of batch t, which pulls each parameter somewhere else."""
    return torch.stack([((p - 0.1 * math.cos(t + i)).square() + 0.1 * p**4).sum() for i, p in enumerate(params)]).sum()


def run(optimizer: Any, params: Sequence[Tensor], steps: int = 12) -> list[Tensor]:
    """Steps in which one parameter has no gradient at first."""
    for t in range(steps):
        optimizer.minimize(lambda t=t: loss(params[1 if t < 2 else 0 :], t))
    return [p.detach() for p in params]
