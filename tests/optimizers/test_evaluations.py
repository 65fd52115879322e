"""Closures that do not zero the gradients, or do nothing: each method that evaluates more than once notices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.methods import optimizers, two_step_wrappers
from support.small import assert_close, copies, equal, loss, named, parameters
from torch import Tensor
from torch.nn import Parameter

import optim_core
from optim_core.errors import ClosureError

#: Methods that evaluate more than once, or take the loss, and wrappers around torch's SGD.
METHODS = [s.name for s in optimizers() if {"closure", "loss"} & set(s.needs)] + list(two_step_wrappers())
EVALUATING = [name for name in METHODS if "loss" not in optim_core.info(name).needs]


def build(name: str) -> tuple[list[Parameter], Any]:
    torch.manual_seed(0)  # some draw where they evaluate
    params = parameters()
    if name in two_step_wrappers():
        base = torch.optim.SGD(named(params), lr=0.1)
        return params, optim_core.get_wrapper(name)(base)
    return params, optim_core.get(name)(named(params))


def backward(params: list[Parameter], parts: int, t: int = 0) -> Tensor:
    """One of so many micro-batches, all of them the same, as a host does it."""
    value = loss(params, t) / parts
    value.backward()
    return value.detach()


@pytest.mark.parametrize("set_to_none", [True, False])
@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("name", METHODS)
def test_a_closure_that_does_not_zero_makes_the_step_of_the_whole_batch(
    name: str, parts: int, set_to_none: bool
) -> None:
    plain, first = build(name)
    params, optimizer = build(name)
    for t in range(3):
        first.minimize(lambda t=t: loss(plain, t))
        optimizer.zero_grad(set_to_none)
        for _ in range(parts - 1):
            backward(params, parts, t)
        refusal = ""
        try:
            optimizer.step(lambda t=t: backward(params, parts, t))
        except ClosureError as refused:
            refusal = str(refused)
        if refusal:
            assert parts > 1 or not set_to_none
            assert "have it call optimizer.zero_grad() first" in refusal
            return
    assert_close(params, plain, 1e-6)


@pytest.mark.parametrize("set_to_none", [True, False])
@pytest.mark.parametrize("name", METHODS)
def test_a_closure_that_zeroes_is_as_before(name: str, set_to_none: bool) -> None:
    plain, first = build(name)
    params, optimizer = build(name)

    def closure(t: int) -> Tensor:
        optimizer.zero_grad(set_to_none)
        backward(params, 2, t)
        return 2 * backward(params, 2, t)

    for t in range(3):
        first.minimize(lambda t=t: loss(plain, t))
        optimizer.step(lambda t=t: closure(t))
    assert_close(params, plain, 1e-6)


@pytest.mark.parametrize("closure", [lambda: None, lambda: torch.zeros(())], ids=["nothing", "a loss"])
@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("name", EVALUATING)
def test_a_closure_without_backward_is_refused(name: str, before: bool, closure: Callable[[], Any]) -> None:
    params, optimizer = build(name)
    if before:
        backward(params, 1)
    values = copies(params)
    with pytest.raises(
        ClosureError, match=r"(has not called backward\(\)|does nothing): use (optimizer|optim_core)\.minimize"
    ):
        optimizer.step(closure)
    assert equal(values, params)
    optimizer.minimize(lambda: loss(params))
    assert not equal(values, params)


@pytest.mark.parametrize("name", EVALUATING)
def test_what_is_in_gradients_must_be_known(name: str) -> None:
    params, optimizer = build(name)
    values = copies(params)
    for p in params:
        p.grad = torch.ones_like(p)  # by whomever
    with pytest.raises(ClosureError, match=r"adds to gradients.*have it call optimizer\.zero_grad\(\)"):
        optimizer.step(lambda: backward(params, 2))
    assert equal(values, params)
