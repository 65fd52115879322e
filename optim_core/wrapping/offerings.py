"""What methods name in their rules, found by tracing them with the options in force."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.optim.optimizer import Optimizer

from optim_core.catalog import licenses
from optim_core.catalog.registry import load_class, registry
from optim_core.errors import NotOffered
from optim_core.optimizers.optimizer import RuleOptimizer
from optim_core.rules.offers import Offers
from optim_core.rules.options import LATE, late_numbers, split
from optim_core.rules.trace import Trace
from optim_core.wrapping.plain_rules import PlainRule, plain_rule_of
from optim_core.wrapping.wrapper import Wrapper


def offered(cls: type[Optimizer], options: Mapping[str, Any]) -> Offers:
    """Return what a method names with such options, in the long run and while lr is not 0; nothing without a rule.

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
    options = {**options, "lr": lr, "step": LATE}  # a rule may do without its denominator at first
    if not issubclass(cls, RuleOptimizer):
        plain_rule = plain_rule_of(cls)
        return Offers() if plain_rule is None else _named_by(plain_rule, options)
    method = cls.method
    if method.rule is None:
        return Offers()
    options = {name: options[name] for name in method.hypers} | late_numbers(lr)
    trace = method.trace(options, (2, 2), extras=frozenset(method.extras)).trace
    return trace.offers or Offers()


def _named_by(plain_rule: PlainRule, options: Mapping[str, Any]) -> Offers:
    known = {name: options[name] for name in (*plain_rule.options, "step") if name in options}
    trace = Trace(split(known)[0], (2, 2))
    trace.offers = Offers()
    plain_rule(trace, known)
    return trace.offers


def require(wrapper: Wrapper, group: Mapping[str, Any], what: str, has: Callable[[Offers], bool]) -> Offers:
    """Return what the method inside a wrapper names for a group.

    Args:
        wrapper: the wrapper.
        group: the parameter group.
        what: what the wrapper needs, in words.
        has: returns True for offers that hold it.

    Raises:
        NotOffered: the method does not name it; the message lists those that do with their default options.
    """
    inner = type(wrapper.innermost)
    offers = offered(inner, group)
    if not has(offers):
        names = ", ".join(name for name, others in _all() if has(others))
        raise NotOffered(
            f"{wrapper.method.name} needs {what}, which {inner.__name__} does not have, or not with these options. "
            f"Methods that have one: {names or 'none is installed'}"
        )
    return offers


def _all() -> Iterator[tuple[str, Offers]]:
    """All methods, those installed and torch's, with what they offer by default."""
    rules = licenses.rules()
    for entry in registry().find(kind="optimizer"):
        if not all(rule.permits(entry.spec.license) for rule in rules):
            continue
        try:
            cls = load_class(entry.spec)
            options = _defaults(cls)
            offers = None if options is None else offered(cls, options)
        except Exception:  # noqa: BLE001, S112 - a list of methods that work leaves out a stranger's that does not
            continue
        if offers is not None:
            yield entry.spec.name, offers
    for name, cls in vars(torch.optim).items():
        if inspect.isclass(cls) and issubclass(cls, Optimizer) and plain_rule_of(cls):
            yield f"torch:{name.lower()}", offered(cls, _signature_defaults(cls))


def _defaults(cls: Any) -> Mapping[str, Any] | None:
    """The options of a method by default; None for a plain class of which nothing is known.

    Raises:
        OptimCoreError: one of them has no default.
    """
    if not inspect.isclass(cls) or not issubclass(cls, Optimizer):
        return None
    if issubclass(cls, RuleOptimizer):
        return cls.resolve({n: h.default for n, h in cls.hypers.items()}, frozenset())
    rule = plain_rule_of(cls)
    defaults = _signature_defaults(cls)
    # a class of a pack may be derived from one of torch's and take other arguments
    missing = [name for name in rule.options if defaults.get(name, _NONE) is _NONE] if rule is not None else [""]
    return None if missing else defaults


_NONE = inspect.Parameter.empty


def _signature_defaults(cls: type[Optimizer]) -> dict[str, Any]:
    return {q.name: q.default for q in inspect.signature(cls).parameters.values()}
