"""What does not go together, refused when a wrapper is built: from what classes declare, with a remedy."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch.optim.optimizer import Optimizer

from optim_core.catalog.needs import Need
from optim_core.errors import UnknownOption, WrapperConflict
from optim_core.methods.method import Method
from optim_core.optimizers.needs import needs_of
from optim_core.optimizers.optimizer import RuleOptimizer
from optim_core.wrapping.bases import steps_of
from optim_core.wrapping.shared import Shared

#: Needs that one wrapper of a chain can have, and why not two.
_ONCE: Mapping[Need, str] = {
    "closure": "both move the weights for an evaluation elsewhere, each where the other expects them to stay",
    "multi_loss": "each make one gradient of the losses, so that one of them would have no effect",
}

#: What a plain optimizer can only be given in its own ``step(closure)``.
_IN_ITS_STEP: frozenset[Need] = frozenset({"closure", "loss", "multi_loss"})


def check_order(
    base: object, others: Sequence[object], options: Mapping[str, Any], method: Method, arguments: Collection[str]
) -> None:
    """Refuse the arguments that wrappers of other libraries take: parameters, a class, and options of both.

    Args:
        base: what was given first.
        others: what else was given by position.
        options: what was given by name.
        method: the wrapper's.
        arguments: the names of those of its arguments that are not options.

    Raises:
        WrapperConflict: the base is to be built here.
        UnknownOption: an option has no name.
    """
    kinds = [x for x in (base, *others, *options.values()) if isinstance(x, type) and issubclass(x, Optimizer)]
    mine = {name: value for name, value in options.items() if name in method.hypers or name in arguments}
    if kinds:
        theirs = {name: x for name, x in options.items() if name not in mine and x is not kinds[0]}
        built = f"{_written(kinds[0])}({_call('params', theirs)})"
        raise WrapperConflict(
            f"{method.name} goes around an optimizer, not around a class: build that first, with its own options: "
            f"{method.name}({_call(built, mine)})"
        )
    if others and isinstance(others[0], Optimizer):
        raise WrapperConflict(
            f"{method.name} takes the parameters from the optimizer that it goes around: "
            f"{method.name}({_call('optimizer', mine)})"
        )
    if others:
        named = dict(zip(method.hypers, others, strict=False)) | mine
        raise UnknownOption(
            f"{method.name} takes options by name: {method.name}({_call('optimizer', named)}), if those are meant; it "
            f"has {', '.join(method.hypers) or 'none'}"
        )


def _call(first: str, options: Mapping[str, Any]) -> str:
    """Arguments as they are written."""
    return ", ".join([first, *(f"{name}={value!r}" for name, value in options.items())])


def _written(cls: type) -> str:
    return f"torch.optim.{cls.__name__}" if cls.__module__.startswith("torch.optim.") else cls.__name__


def check_base(base: object, owner: str) -> None:
    """Refuse what cannot be wrapped.

    Raises:
        WrapperConflict: it is not an optimizer, or one that evaluates the loss in its own ``step``.
    """
    if not isinstance(base, Optimizer):
        raise WrapperConflict(
            f"{owner} goes around an optimizer, not {type(base).__name__}: build that first, such as "
            f"{owner}(torch.optim.SGD(model.parameters(), lr=0.1))"
        )
    if isinstance(base, (RuleOptimizer, Shared)):
        return
    if needs_of(base) & _IN_ITS_STEP:
        raise WrapperConflict(
            f"{owner} cannot go around {type(base).__name__}, which evaluates the loss inside its own step; use "
            f"{type(base).__name__} alone, with optim_core.minimize(optimizer, closure)"
        )


def _check_pair(wrapper: Shared, other: Shared) -> None:
    """Refuse one around the other that cannot be, whatever else is there."""
    if type(other) is type(wrapper):
        raise WrapperConflict(
            f"{wrapper.method.name} is there already, around {type(wrapper.innermost).__name__}: "
            f"{' + '.join(inner.method.name for inner in reversed(wrapper.inside))}; leave the second one out"
        )
    for need, reason in _ONCE.items():
        if need in wrapper.needs & other.needs:
            raise WrapperConflict(f"{wrapper.method.name} and {other.method.name} {reason}: choose one")
    for one, another in ((wrapper, other), (other, wrapper)):
        if one.estimates and "multi_loss" in another.needs:
            raise WrapperConflict(
                f"{one.method.name} makes gradients of one loss, and {another.method.name} one gradient of those of "
                "several: choose one"
            )


def check_inside(wrapper: Shared) -> None:
    """Refuse what a wrapper does not go with.

    Raises:
        WrapperConflict: something inside is a wrapper of the same class, has a need that the wrapper refuses, or one
            that only one wrapper can have.
    """
    name = wrapper.method.name
    for other in wrapper.inside:
        _check_pair(wrapper, other)
    released = [other for other in wrapper.inside if other.releases]
    if released and not wrapper.acts_after:
        raise WrapperConflict(
            f"{name} cannot go around {released[0].method.name}, which steps with gradients, and drops them, before "
            "anything else sees them: leave one of them out"
        )
    needs = steps_of(wrapper.innermost).needs_in_force()
    for need, reason in wrapper.refuses.items():
        if need in needs:
            raise WrapperConflict(f"{name} cannot go around {type(wrapper.innermost).__name__}, which {reason}")
        for other in wrapper.inside:
            if need in other.needs:
                raise WrapperConflict(
                    f"{name} cannot go around {other.method.name}, which {reason}; or put {name} inside it"
                )
