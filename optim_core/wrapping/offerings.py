"""Which methods name what a wrapper needs: found by tracing their rule, with the options in force."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.optim.optimizer import Optimizer

from optim_core.catalog.registry import load, registry
from optim_core.errors import NotOffered, OptimCoreError
from optim_core.optimizers.optimizer import RuleOptimizer
from optim_core.rules.offers import Offers
from optim_core.rules.options import split
from optim_core.rules.values import Trace
from optim_core.wrapping.torch_rules import Reading, reading_of
from optim_core.wrapping.wrapper import Wrapper

#: A step by which warm-ups are over and averages are full: a rule may do without its denominator at first.
_LATE = 1_000_000


def offered(cls: type[Optimizer], options: Mapping[str, Any]) -> Offers:
    """What a method names with such options, in the long run and while lr is not 0; nothing if it has no rule.

    Args:
        cls: its class.
        options: all of its options by name, such as a parameter group.

    Example:
        >>> import torch
        >>> offers = offered(torch.optim.Adam, {"lr": 0.1, "betas": (0.9, 0.999), "eps": 1e-8, "amsgrad": False})
        >>> len(offers.denominators)
        1
    """
    lr = float(options["lr"] or 1.0) if options.get("lr") is not None else None
    options = {**options, "lr": lr, "step": _LATE}
    if not issubclass(cls, RuleOptimizer):
        reading = reading_of(cls)
        return Offers() if reading is None else _read(reading, options)
    method = cls.method
    if method.rule is None:
        return Offers()
    given = {"first": 0.0, "whole_step": _LATE, "largest_lr": lr or 1.0, "grad_scale": None, "rounding_seed": None}
    options = {name: options[name] for name in (*method.hypers, "step")} | given
    trace = method.trace(options, (2, 2), extras=frozenset(method.extras)).trace
    return trace.offers or Offers()


def _read(reading: Reading, options: Mapping[str, Any]) -> Offers:
    known = {name: options[name] for name in (*reading.options, "step")}
    trace = Trace(split(known)[0], (2, 2))
    trace.offers = Offers()
    reading(trace, known)
    return trace.offers


def require(wrapper: Wrapper, group: Mapping[str, Any], what: str, has: Callable[[Offers], bool]) -> Offers:
    """What the method inside a wrapper offers to a group.

    Args:
        wrapper: the wrapper.
        group: the parameter group.
        what: what the wrapper needs, in words.
        has: whether an offer holds it.

    Raises:
        NotOffered: it is not there; the message names the methods that have it with their default options.
    """
    inner = type(wrapper.innermost)
    offers = offered(inner, group)
    if not has(offers):
        names = ", ".join(name for name, theirs in _all() if has(theirs))
        raise NotOffered(
            f"{wrapper.method.name} needs {what}, which {inner.__name__} does not have, or not with these options. "
            f"Methods that have one: {names or 'none is installed'}"
        )
    return offers


def _all() -> Iterator[tuple[str, Offers]]:
    """All methods, those installed and torch's, with what they offer by default."""
    for entry in registry().find(kind="optimizer"):
        try:
            cls = load(entry.spec)
            yield entry.spec.name, offered(cls, cls.resolve({n: h.default for n, h in cls.hypers.items()}, frozenset()))
        except OptimCoreError:  # it cannot be loaded, or has no defaults to go by: no advice to give
            continue
    for name, cls in vars(torch.optim).items():
        if inspect.isclass(cls) and issubclass(cls, Optimizer) and reading_of(cls):
            defaults = {q.name: q.default for q in inspect.signature(cls).parameters.values()}
            yield f"torch:{name.lower()}", offered(cls, defaults)
