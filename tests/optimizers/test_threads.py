"""Several threads: each with an optimizer of its own as if it were alone; with one optimizer in turn, or refused."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from support import small
from support.kinds import Kind, some_of_each
from torch import Tensor

import optim_core
from optim_core.errors import ConcurrentStep

STEPS = 5


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kind" in metafunc.fixturenames:
        metafunc.parametrize("kind", some_of_each(), ids=lambda kind: kind.spec.name)


def optimizer_of(kind: Kind, rows: int, engine: str) -> tuple[Any, list[Any]]:
    """Shapes of its own, which tell draws apart."""
    params = small.parameters((rows, 4), (rows,))
    return kind.make(small.named(params), engine=engine), params


def trained(kind: Kind, optimizer: Any, params: list[Any]) -> list[Tensor]:
    for t in range(STEPS):

        def closure(t: int = t) -> Any:
            loss = small.loss(params, t)
            return [loss, small.loss(params, t + 1)] if kind.needs("multi_loss") else loss

        optim_core.minimize(optimizer, closure)
    return small.copies(params)


@pytest.mark.parametrize("engine", ["eager", "native"])
def test_an_optimizer_a_thread(kind: Kind, engine: str) -> None:
    if kind.spec.kind == "optimizer" and kind.make(small.parameters()).method.rule is None:
        engine = "eager"
    ends = []
    for threads in (1, 3):
        torch.manual_seed(0)
        mine = [optimizer_of(kind, rows, engine) for rows in (3, 5, 7)]
        with ThreadPoolExecutor(threads) as pool:
            ends.append(list(pool.map(lambda made: trained(kind, *made), mine)))
    for alone, beside in zip(*ends, strict=True):
        assert small.equal(alone, beside)


def test_one_optimizer_in_two_threads_at_once(kind: Kind) -> None:
    params = small.parameters()
    optimizer = kind.make(small.named(params))
    begun, told = threading.Event(), threading.Event()

    def slow() -> Any:
        begun.set()
        assert told.wait(20)
        loss = small.loss(params)
        return [loss, small.loss(params, 1)] if kind.needs("multi_loss") else loss

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(optim_core.minimize, optimizer, slow)
        assert begun.wait(20)
        for step in (lambda: optimizer.minimize(slow), lambda: optimizer.step(slow)):
            with pytest.raises(ConcurrentStep, match=r"stepping in another thread.*or hold a threading\.Lock"):
                step()
        told.set()
        first.result(20)
    trained(kind, optimizer, params)  # in turn is fine


def test_the_remedies() -> None:
    """A lock around each step, with one optimizer; what fails in a step leaves the optimizer free."""
    params = small.parameters()
    optimizer: Any = optim_core.get("adamw")(params)
    lock = threading.Lock()

    def locked(t: int) -> None:
        with lock:
            optimizer.minimize(small.closure(params, t))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(locked, range(20)))
    assert optimizer.state[params[0]]["step"] == 20
    with pytest.raises(ZeroDivisionError), ThreadPoolExecutor(1) as pool:
        pool.submit(optimizer.minimize, lambda: 1 / 0).result()
    locked(0)
