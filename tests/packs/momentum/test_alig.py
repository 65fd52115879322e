"""ALI-G: the loss is a part of the step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.one_parameter import full, loss, path, start
from torch.nn import Parameter

import optim_core
from optim_core.errors import LossMissing


def alig(p: Parameter, **options: Any) -> Any:
    return optim_core.get("alig")([p], **options)


def test_alig_asks_for_the_loss() -> None:
    p = start()
    optimizer = alig(p)
    loss(p).backward()
    remedy = r"use optimizer\.minimize\(closure\), or step\(closure\) with a closure that returns the loss"
    with pytest.raises(LossMissing, match=rf"AliG needs the value of the loss.* was called without it: {remedy}"):
        optimizer.step()
    with pytest.raises(LossMissing, match=rf"got None from its closure: {remedy}"):
        optimizer.step(lambda: None)
    optimizer.minimize(lambda: loss(p))
    before = p.detach().clone()
    with pytest.raises(LossMissing):  # each loss serves one step
        optimizer.step()
    assert torch.equal(p, before)


def test_alig_takes_the_loss_in_all_ways() -> None:
    p, q, r = start(), start(), start()
    first, second, third = alig(p, momentum=0.5, max_lr=0.3), alig(q, momentum=0.5, max_lr=0.3), alig(r, momentum=0.5)
    third.param_groups[0].update(max_lr=0.3, lr=0.3)
    for _ in range(5):
        value = first.minimize(lambda: loss(p))
        assert torch.equal(second.step(full(second, q)), value)
        third.zero_grad()
        value = loss(r)
        value.backward()
        assert third.step(value.item) == value.item()
        assert torch.equal(p, q)
        assert torch.equal(p, r)


@pytest.mark.parametrize(
    ("options", "lr", "max_lr"),
    [
        ({}, 1.0, None),
        ({"max_lr": 0.1}, 0.1, 0.1),
        ({"lr": 0.1}, 0.1, 0.1),
        ({"lr": 0.05, "max_lr": 0.1}, 0.05, 0.1),
    ],
)
def test_alig_s_lr_is_its_bound(options: dict[str, float], lr: float, max_lr: float | None) -> None:
    optimizer = alig(start(), **options)
    optimizer.add_param_group({"params": [start()], "momentum": 0.5})
    optimizer.add_param_group({"params": [start()], "max_lr": 0.7})
    assert [(g["lr"], g["max_lr"]) for g in optimizer.param_groups] == [(lr, max_lr), (lr, max_lr), (0.7, 0.7)]


def test_alig_does_not_ascend() -> None:
    for options, offset in (({}, -100.0), ({"maximize": True}, 100.0)):
        p = start()
        alig(p, **options).minimize(lambda p=p, offset=offset: loss(p) + offset)
        assert torch.equal(p, start())
    p, q = start(), start()
    alig(p, max_lr=0.1).minimize(lambda: loss(p))
    alig(q, max_lr=0.1, maximize=True).minimize(lambda: -loss(q))
    assert torch.equal(p, q)


def test_alig_stays_in_its_ball() -> None:
    p, q = (Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64)) for _ in range(2))
    optimizer = optim_core.get("alig")([p, q], max_norm=1.0)
    assert torch.stack([p, q]).norm().item() == pytest.approx(1.0)
    for _ in range(3):
        optimizer.minimize(lambda: (p - 5).square().sum() + (q + 5).square().sum())
        assert torch.stack([p, q]).norm().item() <= 1 + 1e-12


def test_alig_with_a_projection_of_one_s_own() -> None:
    p = start()
    optimizer = alig(p)
    optimizer.register_step_post_hook(lambda *_: p.data.clamp_(-1, 1))
    optimizer.minimize(lambda: (p - 100).square().sum())
    assert p.abs().max() == 1


def test_alig_inside_wrappers() -> None:
    p = start()
    optimizer = optim_core.create_optimizer([p], "alig", lr=0.3, use_lookahead=True, wrappers=["sam"])
    assert float(path(optimizer, p, 12)[-1].norm()) < float(start().detach().norm())
    with pytest.raises(LossMissing, match=r"optimizer\.minimize\(closure\)"):
        optimizer.base.base.step()
