"""minimize over anybody's optimizer."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch.nn import Parameter

import optim_core
from optim_core.errors import ClosureError, GraphMissing

TORCH = [
    cls
    for name, cls in sorted(vars(torch.optim).items())
    if inspect.isclass(cls) and issubclass(cls, torch.optim.Optimizer) and name not in ("Optimizer", "SparseAdam")
]


@pytest.mark.parametrize("cls", TORCH, ids=lambda cls: cls.__name__)
def test_minimize_takes_any_optimizer_of_torch(cls: Any) -> None:
    w = Parameter(torch.full((3, 3), 2.0))
    optimizer = cls([w], lr=0.1)
    loss = optim_core.minimize(optimizer, lambda: w.square().sum())
    assert loss.item() == 36.0
    assert not loss.requires_grad
    assert w.square().sum().item() < 36.0


def test_closures_that_do_something_else() -> None:
    w = Parameter(torch.ones(2))
    for optimizer in (optim_core.get("adamw")([w]), torch.optim.SGD([w], lr=0.1)):

        def backward() -> Any:
            loss = w.sum()
            loss.backward()
            return loss

        for closure, text in {
            backward: r"has called backward\(\)",
            lambda: None: "should return the loss",
            lambda: w * 2: r"a tensor of shape \(2,\)",
            lambda: w.sum().detach(): "without a graph",
            lambda: [w.sum(), w.sum()]: r"returned 2 losses.*get_wrapper\('pcgrad'\)",
        }.items():
            with pytest.raises(ClosureError, match=text):
                optim_core.minimize(optimizer, closure)
            optimizer.zero_grad()
    assert w.tolist() == [1.0, 1.0]


def test_a_second_order_method_without_its_graph() -> None:
    w = Parameter(torch.ones(2))
    for name in ("sophia", "adahessian"):
        optimizer = optim_core.get(name)([w])
        w.square().sum().backward()
        with pytest.raises(GraphMissing, match=r"create_graph=True.*optimizer\.minimize\(closure\)"):
            optimizer.step()
        assert w.tolist() == [1.0, 1.0]


def test_steps_leave_no_graph_behind() -> None:
    w = Parameter(torch.ones(2))
    optim_core.get("adahessian")([w]).minimize(lambda: torch.sum(w**3))
    assert w.grad is not None
    assert w.grad.grad_fn is None
