"""Checkpoints go by names, and are refused when they belong to something else."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch.nn import Parameter

import optim_core
from optim_core.errors import CheckpointMismatch


def named(names: str) -> list[tuple[str, Parameter]]:
    return [(n, Parameter(torch.full((2,), float(ord(n))))) for n in names]


def trained(pairs: list[tuple[str, Parameter]]) -> Any:
    optimizer = optim_core.get("adamw")(pairs)
    optimizer.minimize(lambda: torch.stack([(p * i).sum() for i, (_, p) in enumerate(pairs, 1)]).sum())
    return optimizer


def test_state_is_matched_by_name() -> None:
    saved = trained(named("abc")).state_dict()
    pairs = named("cab")
    other = optim_core.get("adamw")(pairs)
    other.load_state_dict(copy.deepcopy(saved))
    averages = {n: other.state[p]["exp_avg"][0].item() for n, p in pairs}
    assert averages == pytest.approx({"a": 0.1, "b": 0.2, "c": 0.3})


def test_foreign_checkpoints_are_refused_unchanged() -> None:
    optimizer = trained(named("ab"))
    before = copy.deepcopy(optimizer.state_dict())
    lion = optim_core.get("lion")(named("ab"))
    cases = {
        "belongs to another model. It lacks b and has x": trained(named("ax")).state_dict(),
        "1 groups of 2 parameters, the checkpoint 1 groups of 1": optim_core.get("adamw")(
            [Parameter(torch.ones(2))]
        ).state_dict(),
    }
    for text, foreign in cases.items():
        with pytest.raises(CheckpointMismatch, match=text.replace(".", r"\.")):
            optimizer.load_state_dict(foreign)
    with pytest.raises(
        CheckpointMismatch, match=r"saved by another method, AdamW, .* build AdamW, or let Lion begin anew"
    ):
        lion.load_state_dict(before)
    assert str(optimizer.state_dict()) == str(before)
    assert not lion.state


def test_torch_s_own_checkpoint_is_understood() -> None:
    w, v = Parameter(torch.ones(2)), Parameter(torch.ones(2))
    theirs, ours = torch.optim.AdamW([w], lr=0.1), optim_core.get("adamw")([v], lr=0.1)
    for _ in range(3):
        optim_core.minimize(theirs, lambda: w.square().sum())
    ours.load_state_dict(theirs.state_dict())
    v.data.copy_(w.data)
    for _ in range(3):
        optim_core.minimize(theirs, lambda: w.square().sum())
        ours.minimize(lambda: v.square().sum())
    torch.testing.assert_close(v, w)


def test_two_optimizers_from_one_checkpoint_share_nothing() -> None:
    saved = trained(named("ab")).state_dict()
    pairs = named("ab"), named("ab")
    first, second = (optim_core.get("adamw")(p) for p in pairs)
    first.load_state_dict(saved)
    second.load_state_dict(saved)
    a, b = (o.state[p[0][1]]["exp_avg"] for o, p in zip((first, second), pairs, strict=True))
    assert a.data_ptr() != b.data_ptr()


def test_complex_parameters_follow_torch() -> None:
    w, v = (Parameter(torch.tensor([1 + 2j, -1 + 0.5j])) for _ in range(2))
    theirs, ours = torch.optim.AdamW([w], lr=0.1), optim_core.get("adamw")([v], lr=0.1)
    for _ in range(3):
        optim_core.minimize(theirs, lambda: w.abs().square().sum())
        ours.minimize(lambda: v.abs().square().sum())
    torch.testing.assert_close(v, w)
