"""Schedulers of the packs: saved, resumed, several groups, as torch's own; driven by the registry.

Defects seen elsewhere and where their tests are: swallowed keywords, lr = 0, zero and late gradients, odd shapes,
gradients overwritten, missing lr, private generators (test_methods); wrappers that are no optimizers or lose their
state (test_wrappers); state by order, foreign and shared checkpoints, decay on normalisation layers, backward inside
closures (test_stepping); broken torch.hub entries (test_hub); schedulers without state (here).
"""

from __future__ import annotations

import inspect
import io
from typing import Any

import pytest
import torch
from torch.nn import Parameter

import optim_core
from optim_core.errors import InvalidOption

SCHEDULERS = [spec.name for spec in optim_core.find(kind="scheduler")]


def built(name: str) -> tuple[Any, Any]:
    groups = [
        {"params": [Parameter(torch.ones(1))], "lr": lr, "betas": (0.9, b)} for lr, b in ((0.1, 0.9), (0.01, 0.95))
    ]
    optimizer = torch.optim.Adam(groups)
    cls = optim_core.get_scheduler(name)
    total = {"total_steps": 16} if "total_steps" in inspect.signature(cls).parameters else {}
    return optimizer, cls(optimizer, **total)


def rates(optimizer: Any, scheduler: Any, steps: int) -> list[list[float]]:
    seen = []
    for _ in range(steps):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return seen


@pytest.mark.parametrize("name", SCHEDULERS)
def test_each_group_keeps_its_own_rate(name: str) -> None:
    optimizer, scheduler = built(name)
    assert isinstance(scheduler, torch.optim.lr_scheduler.LRScheduler)
    assert all(b < a for a, b in rates(optimizer, scheduler, 8))
    assert scheduler.get_last_lr() == [group["lr"] for group in optimizer.param_groups]


@pytest.mark.parametrize("name", SCHEDULERS)
def test_resumes_in_mid_flight(name: str) -> None:
    optimizer, scheduler = built(name)
    rates(optimizer, scheduler, 5)
    file = io.BytesIO()
    torch.save({"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    other, resumed = built(name)
    other.load_state_dict(saved["optimizer"])
    resumed.load_state_dict(saved["scheduler"])
    assert rates(other, resumed, 9) == rates(optimizer, scheduler, 9)


def test_options_out_of_range() -> None:
    optimizer = torch.optim.SGD([Parameter(torch.ones(1))], lr=0.1)
    with pytest.raises(InvalidOption, match=r"total_steps=10 is not a power of two.*8 and 16"):
        optim_core.get_scheduler("chebyshev")(optimizer, total_steps=10)
