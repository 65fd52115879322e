"""A closure may yield the loss in parts: the same step as with all of it at once, with one part's graph in memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from support.methods import open_ended
from support.small import equal
from support.wrappers import around, base_only_specs
from torch import Tensor
from torch.nn import Parameter

import optim_core
from optim_core.catalog.registry import load_class
from optim_core.errors import ClosureError
from optim_core.optimizers.closures import backward
from optim_core.testing.problems import PROBLEMS

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")

WRAPPERS = [
    spec.name
    for spec in base_only_specs()
    if "multi_loss" not in spec.needs and not getattr(load_class(spec), "releases", False)
]


def in_parts(losses: Callable[[], list[Tensor]]) -> Callable[[], Iterator[Tensor]]:
    """The losses one after another, each with a graph of its own."""
    return lambda: (losses()[i] for i in range(len(losses())))


def summed(optimizer: Any, losses: Callable[[], list[Tensor]]) -> Tensor:
    return optim_core.minimize(optimizer, lambda: torch.stack(losses()).sum())


def yielded(optimizer: Any, losses: Callable[[], list[Tensor]]) -> Tensor:
    return optim_core.minimize(optimizer, in_parts(losses))


def by_hand(optimizer: Any, losses: Callable[[], list[Tensor]]) -> Tensor:
    """torch's way, in which gradients add up."""

    def closure() -> Tensor:
        optimizer.zero_grad()
        found = [part[i] for i, part in enumerate(losses() for _ in range(3))]
        for loss in found:
            backward(loss, create_graph=getattr(optimizer, "needs_graph", False))
        return (found[0] + found[1] + found[2]).detach()

    return optimizer.step(closure)


def trained(build: Callable[[list[Any]], Any], *ways: Callable[..., Tensor]) -> Iterator[list[Tensor]]:
    """By each way of evaluating: the losses of four steps, and the parameters after them."""
    problem: Any = PROBLEMS["net-3tasks"]
    for way in ways:
        torch.manual_seed(0)
        params = problem.parameters()
        optimizer = build([(f"{i}.{'weight' if p.ndim > 1 else 'bias'}", p) for i, p in enumerate(params)])
        values = []
        for t in range(4):

            def losses(params: list[Parameter] = params, t: int = t) -> list[Tensor]:
                return problem.loss(params, t)

            values.append(way(optimizer, losses))
        yield [*values, *(p.detach() for p in params)]


@pytest.mark.parametrize("name", [*open_ended(), "torch:adam", "torch:lbfgs"])
def test_any_method_takes_the_loss_in_parts(name: str) -> None:
    # gradients add up in the same order; some methods magnify the rounding of another one
    assert equal(*trained(optim_core.get(name), yielded, by_hand))


@pytest.mark.parametrize("base", ["sgd", "torch:sgd"])
@pytest.mark.parametrize("name", WRAPPERS)
def test_any_wrapper_takes_the_loss_in_parts(name: str, base: str) -> None:
    cls = optim_core.get(base)
    one, other = trained(lambda params: around(cls(params, lr=0.1), name), yielded, summed)
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def test_one_graph_at_a_time() -> None:
    w = Parameter(torch.ones(2))
    alive: list[weakref.ref[Any]] = []

    def closure() -> Iterator[Tensor]:
        for _ in range(3):
            assert not any(ref() for ref in alive)
            kept = w.exp()
            alive.append(weakref.ref(kept))
            yield (kept * kept).sum()
            del kept

    optim_core.get("sgd")([w], lr=0.1).minimize(closure)
    assert len(alive) == 3


def test_parts_that_are_none() -> None:
    w = Parameter(torch.ones(2))

    def nothing() -> Iterator[Tensor]:
        yield from ()

    def strange() -> Iterator[Any]:
        yield w.sum()
        yield None

    def backward() -> Iterator[Tensor]:
        for _ in range(2):
            loss = w.sum()
            loss.backward()
            yield loss

    for optimizer in (optim_core.get("sgd")([w], lr=0.1), torch.optim.SGD([w], lr=0.1)):
        for closure, text in {
            nothing: "has yielded no part of the loss",
            strange: "should return the loss, a 0-d tensor, for SGD; it returned None",
            backward: r"has called backward\(\)",
        }.items():
            with pytest.raises(ClosureError, match=text):
                optim_core.minimize(optimizer, closure)
    assert w.tolist() == [1.0, 1.0]
    pcgrad = optim_core.get_wrapper("pcgrad")(torch.optim.SGD([w], lr=0.1))
    with pytest.raises(ClosureError, match="should return that list, not generator"):
        pcgrad.minimize(lambda: (w.sum() for _ in range(2)))
