"""How an optimizer is built: what it accepts, what it refuses, and that it says nothing meanwhile."""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from optim_core.errors import InvalidOption, WrapperConflict
from optim_core.stepping import minimize
from optim_core.testing.check import NotApplicable, check, fail, require
from optim_core.testing.small import STEPS, closure, copies, equal, finite
from optim_core.testing.subject import Subject


def is_optimizer(subject: Any) -> bool:
    """An optimizer, or a wrapper that nothing but a base is needed for."""
    return isinstance(subject, Subject) and subject.is_buildable


def goes_by_gradients(subject: Any) -> bool:
    """One of these that goes by gradients as they are, not by estimates of its own."""
    return is_optimizer(subject) and not getattr(subject.target, "estimates", False)


def is_declared(subject: Any) -> bool:
    """One of these with declared options."""
    return is_optimizer(subject) and subject.is_declared


def is_plain(subject: Any) -> bool:
    """One of these without."""
    return is_optimizer(subject) and not subject.is_declared


@check(is_optimizer, steps=False)
def check_takes_a_step(subject: Subject) -> None:
    """It is built from parameters, and steps lead to other, finite parameters.

    Remedy: give all options but the parameters a default (or name those to build it with), and declare what it needs
    beside gradients in ``needs``.
    """
    require(subject.obstacle is None, f"a step fails: {subject.obstacle}")
    params = subject.params()
    before = copies(params)
    subject.train(subject.build(params), params)
    require(finite(params), f"after {STEPS} steps parameters are infinite or not a number")
    require(not equal(before, params), f"{STEPS} steps change no parameter")


@check(is_optimizer)
def check_is_an_optimizer_of_torch(subject: Subject) -> None:
    """It is a torch.optim.Optimizer whose groups have an lr, so that schedulers, GradScaler and Trainers work on it.

    Remedy: derive from RuleOptimizer, Wrapper or torch.optim.Optimizer, and keep the step size in group["lr"].
    """
    params = subject.params()
    optimizer = subject.build(params)
    require(isinstance(optimizer, torch.optim.Optimizer), f"it makes a {type(optimizer).__name__}")
    for group in optimizer.param_groups:
        require("lr" in group, f"its groups have no lr, but {', '.join(group)}")
    held = [p for group in optimizer.param_groups for p in group["params"]]
    require(all(any(p is q for q in held) for p in params), "its groups do not hold the parameters that it was given")


@check(is_optimizer)
def check_refuses_misspelt_options(subject: Subject) -> None:
    """An option that it does not have is refused with a TypeError, never swallowed.

    Remedy: take no ``**kwargs`` in the constructor, or raise for what is left in them.
    """
    for name in subject.defaults or ("option",):
        misspelt = name + name[-1]
        if misspelt in subject.defaults:
            continue
        try:
            subject.build(subject.params(), **{misspelt: subject.defaults.get(name)})
        except TypeError as error:
            if subject.is_declared:
                require(name in str(error), f"the refusal of {misspelt!r} does not mention {name!r}: {error}")
            continue
        fail(f"{misspelt}={subject.defaults.get(name)!r} is accepted without a word")


def outside(h: Any) -> list[Any]:
    """Values that an option must refuse: not a number, and beyond each of its bounds."""
    numbers = [math.nan]
    numbers += [h.ge - 1] if h.ge is not None else [h.gt] if h.gt is not None else []
    numbers += [h.le + 1] if h.le is not None else [h.lt] if h.lt is not None else []
    if isinstance(h.default, tuple):
        return [(*h.default[:i], x, *h.default[i + 1 :]) for i in range(len(h.default)) for x in numbers]
    return numbers


@check(is_declared)
def check_refuses_values_out_of_range(subject: Subject) -> None:
    """Values of a wrong type or out of range are refused by the constructor and for groups, before anything is changed.

    Remedy: declare the bounds, ``lr: float = hyper(0.1, "step size", ge=0)``, and do not catch InvalidOption.
    """
    for name, h in subject.hypers.items():
        numeric = any(kind in str(h.type_name) for kind in ("int", "float"))
        for value in [*(outside(h) if numeric else []), object()]:
            given = f"{name}={value!r}" if type(value) is not object else f"an object() for {name}"
            try:
                subject.build(subject.params((2,)), **{name: value})
                fail(f"{given} is accepted")
            except InvalidOption as error:
                require(f"{name}=" in str(error), f"the refusal of {given} does not name it: {error}")
            if subject.kind == "optimizer":
                _check_group_refused(subject, name, value, given)


def _check_group_refused(subject: Subject, name: str, value: Any, given: str) -> None:
    optimizer = subject.build(subject.params((2,)))
    try:
        optimizer.add_param_group(subject.group(subject.params((3,)), 1, **{name: value}))
    except InvalidOption:
        require(len(optimizer.param_groups) == 1, f"{given} is refused for a group that is there nevertheless")
        return
    fail(f"{given} is accepted for a group")


@check(is_plain)
def check_refuses_a_negative_lr(subject: Subject) -> None:
    """A negative learning rate is refused: it ascends, and hides a schedule that has gone wrong.

    Remedy: ``if lr < 0: raise ValueError(...)`` in the constructor.
    """
    if "lr" not in subject.defaults:
        raise NotApplicable("its constructor has no lr")
    try:
        subject.build(subject.params(), lr=-1.0)
    except Exception:  # noqa: BLE001 - refusals come in many classes
        return
    fail("lr=-1.0 is accepted")


@check(lambda subject: is_declared(subject) and subject.kind == "optimizer" and "lr" in subject.hypers, steps=False)
def check_lr_has_a_range_to_search(subject: Subject) -> None:
    """The lr declares the range that is worth searching, which comparisons cover.

    Remedy: ``lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))``.
    """
    search = subject.hypers["lr"].search
    require(search is not None and 0 < search[0] < search[1], f"the range of lr is {search}")


def variants(subject: Subject) -> Iterator[dict[str, Any]]:
    """Each switch and each choice otherwise than by default."""
    for name, h in subject.hypers.items():
        if isinstance(h.default, bool):
            yield {name: not h.default}
        for choice in h.choices or ():
            if choice != h.default:
                yield {name: choice}


@check(lambda subject: is_declared(subject) and any(variants(subject)))
def check_every_switch_works(subject: Subject) -> None:
    """Each switch and each choice works with the other options at their defaults, or is refused with InvalidOption.

    Remedy: try the options named; where two do not go together, raise InvalidOption in ``resolve``.
    """
    for options in variants(subject):
        params = subject.params((), (3, 4), (5,))
        try:
            optimizer = subject.build(params, **options)
        except (InvalidOption, WrapperConflict):  # it says what the switch needs
            continue
        sign = -1 if options.get("maximize") else 1
        for t in range(3):
            evaluate = closure(params, t, several="multi_loss" in subject.needs)
            minimize(optimizer, partial(_times, sign, evaluate))
        require(finite(params), f"with {options} parameters are infinite or not a number after 3 steps")


def _times(sign: int, evaluate: Callable[[], Any]) -> Any:
    losses = evaluate()
    return [sign * loss for loss in losses] if isinstance(losses, list) else sign * losses


@check(is_optimizer)
def check_is_silent(subject: Subject) -> None:
    """Building it and stepping print nothing and warn of nothing.

    Remedy: remove the ``print``; log with ``logging`` below WARNING; mend what torch warns of.
    """
    out, err = io.StringIO(), io.StringIO()
    with (
        warnings.catch_warnings(record=True) as warned,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        warnings.simplefilter("always")
        params = subject.params()
        subject.train(subject.build(params), params, 2)
    said = [str(w.message) for w in warned] + [text for text in (out.getvalue(), err.getvalue()) if text]
    require(not said, f"it says {next(iter(said), '')!r}")
