"""Adaptive gradient descent: two gradients a step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.one_parameter import full, loss, path, start
from torch import Tensor
from torch.nn import Parameter

import optim_core
from optim_core.errors import ClosureError


def asgd(p: Parameter, **options: Any) -> Any:
    return optim_core.get("asgd")([p], **options)


def test_asgd_is_not_torch_s() -> None:
    assert optim_core.get("adsgd") is optim_core.get("asgd") is not optim_core.get("torch:asgd")
    assert optim_core.get("torch:asgd") is torch.optim.ASGD


def test_asgd_asks_for_a_closure() -> None:
    p = start()
    optimizer = asgd(p)
    loss(p).backward()
    with pytest.raises(ClosureError, match=r"ASGD evaluates the loss twice.*optimizer\.minimize.*consecutive=True"):
        optimizer.step()
    assert torch.equal(p, start())
    asgd(p, consecutive=True).step()
    assert not torch.equal(p, start())


def test_asgd_in_both_ways() -> None:
    p, q = start(), start()
    first, second = asgd(p), asgd(q)
    for _ in range(5):
        value = first.minimize(lambda: loss(p))
        assert torch.equal(second.step(full(second, q)), value)
        assert torch.equal(p, q)


def test_asgd_consecutive_is_the_same_where_nothing_is_random() -> None:
    p, q = start(), start()
    torch.testing.assert_close(path(asgd(p), p), path(asgd(q, consecutive=True), q))


def test_asgd_s_evaluations_see_the_same_random_numbers() -> None:
    p = start()
    optimizer = asgd(p)
    draws: list[float] = []

    def noisy() -> Tensor:
        draws.append(torch.rand(()).item())
        return draws[-1] * loss(p)

    torch.manual_seed(0)
    expected = torch.rand(3).tolist()
    torch.manual_seed(0)
    for _ in range(3):
        optimizer.minimize(noisy)
    assert draws == pytest.approx([expected[0], expected[1], expected[1], expected[2], expected[2]])


def test_asgd_puts_weights_back_when_an_evaluation_fails() -> None:
    p = start()
    optimizer = asgd(p)
    path(optimizer, p, 2)
    before = p.detach().clone()

    def failing() -> Tensor:
        raise KeyError

    with pytest.raises(KeyError):
        optimizer.minimize(failing)
    assert torch.equal(p, before)
    assert path(optimizer, p, 1)[0].isfinite().all()


def test_asgd_s_step_size_scales_with_lr() -> None:
    p, q = start(), start()
    optimizer = optim_core.get("asgd")([{"params": [p]}, {"params": [q], "lr": 0.05}], lr=0.1)
    before = [p.detach().clone(), q.detach().clone()]
    optimizer.minimize(lambda: loss(p) + loss(q))
    torch.testing.assert_close(p.detach() - before[0], 2 * (q.detach() - before[1]))
    optimizer.param_groups[0]["lr"] = 0.0
    before = [p.detach().clone(), q.detach().clone()]
    optimizer.minimize(lambda: loss(p) + loss(q))
    assert torch.equal(p, before[0])
    assert not torch.equal(q, before[1])


def test_asgd_inside_wrappers() -> None:
    p = start()
    optimizer = optim_core.create_optimizer([p], "asgd", use_gc=True, use_lookahead=True, wrappers=["sam"])
    assert float(path(optimizer, p, 12)[-1].norm()) < float(start().detach().norm())
