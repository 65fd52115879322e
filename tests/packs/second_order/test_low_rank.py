"""What methods of low rank promise beyond the tests that every optimizer passes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from optim_core.errors import InvalidOption

pytest.importorskip("optim_core_second_order")

from optim_core_second_order import Alice, LoRARite


def stepped(*, steps: int, rank: int, leading_basis: int, rows: int = 7) -> Tensor:
    """Alice's basis after steps with the same gradients each time."""
    torch.manual_seed(0)
    weight = Parameter(torch.zeros(rows, 5, dtype=torch.float64))
    optimizer = Alice([weight], lr=0.0, rank=rank, leading_basis=leading_basis, update_interval=2)
    for _ in range(steps):
        weight.grad = torch.randn(rows, 5, dtype=torch.float64)
        optimizer.step()
    found: Tensor = optimizer.state[weight]["U_0"]
    return found


@pytest.mark.parametrize(("rank", "leading"), [(3, 3), (3, 1), (3, 0), (6, 2), (7, 3)])
@pytest.mark.parametrize("steps", [1, 4])
def test_alice_s_basis_stays_orthonormal(rank: int, leading: int, steps: int) -> None:
    U = stepped(steps=steps, rank=rank, leading_basis=leading)
    torch.testing.assert_close(U.mT @ U, torch.eye(rank, dtype=U.dtype))


def test_alice_exchanges_all_but_the_leading_directions() -> None:
    whole, some = stepped(steps=1, rank=3, leading_basis=3), stepped(steps=1, rank=3, leading_basis=1)
    torch.testing.assert_close(some[:, :1], whole[:, :1])
    torch.testing.assert_close(whole.mT @ some[:, 1:], torch.zeros(3, 2, dtype=some.dtype))
    assert torch.equal(some, stepped(steps=1, rank=3, leading_basis=1))


def test_alice_fills_up_with_others_where_there_is_little_outside() -> None:
    whole, some = stepped(steps=1, rank=6, leading_basis=6), stepped(steps=1, rank=6, leading_basis=2)
    within = (whole.mT @ some).square().sum(0)
    assert sorted(within.round(decimals=6).tolist()) == [0, 1, 1, 1, 1, 1]


def test_alice_has_room_for_what_it_keeps() -> None:
    with pytest.raises(InvalidOption, match=r"leading_basis=40 of rank=8 columns: give a leading_basis of at most"):
        Alice([Parameter(torch.zeros(2, 2))], rank=8)


# LoRA-RITE ------------------------------------------------------------------------------------------------------
def factors(*shapes: tuple[int, int], names: bool = True) -> list[Any]:
    """Factors of adapters, A and B in turn, as peft names them."""
    torch.manual_seed(0)
    params = [Parameter(torch.randn(shape, dtype=torch.float64)) for shape in shapes]
    return [(f"{i // 2}.lora_{'AB'[i % 2]}.default.weight", p) for i, p in enumerate(params)] if names else params


def descended(optimizer: LoRARite, A: Tensor, B: Tensor, steps: int) -> Tensor:
    """The product after steps towards a constant one."""
    for _ in range(steps):
        optimizer.minimize(lambda: (B @ A - 1).square().mean())
    return (B @ A).detach()


def test_lorarite_moves_the_product_alike_however_it_is_divided() -> None:
    ends = []
    M = torch.tensor([[3.0, 1.0], [-0.5, 0.2]], dtype=torch.float64)
    for change in (torch.eye(2, dtype=torch.float64), M):
        (_, A), (_, B) = named = factors((2, 6), (5, 2))
        with torch.no_grad():
            A.copy_(torch.linalg.solve(change, A))
            B.copy_(B @ change)
        optimizer = LoRARite(named, lr=0.05, eps=1e-12, update_skipping=0.0)
        ends.append(descended(optimizer, A, B, 5))
    torch.testing.assert_close(*ends, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("way", ["names", "paired"])
def test_lorarite_finds_pairs(way: str) -> None:
    others = [("head.weight", Parameter(torch.ones(2, 3))), ("head.bias", Parameter(torch.ones(2)))]
    if way == "names":
        optimizer = LoRARite([*factors((2, 6), (5, 2), (3, 4), (7, 3)), *others])
    else:
        pairs = factors((2, 6), (5, 2), (3, 4), (7, 3), names=False)
        optimizer = LoRARite([{"params": pairs, "paired": True}, {"params": [p for _, p in others], "paired": False}])
    assert [(len(group["params"]), group["paired"]) for group in optimizer.param_groups] == [(4, True), (2, False)]


def test_lorarite_says_what_it_takes_for_adamw_s(caplog: pytest.LogCaptureFixture) -> None:
    LoRARite(factors((2, 6), (5, 2), names=False))
    assert "no parameter has the name of a LoRA factor, so that AdamW gets them all: build it with" in caplog.text
    with pytest.raises(InvalidOption, match=r"shape \(4, 3\) that has no partner: factors follow each other, are mat"):
        LoRARite(factors((2, 6), (5, 2), (4, 3)), paired=True)


def test_lorarite_s_factor_moves_beside_a_frozen_one() -> None:
    (_, A), (_, B) = named = factors((2, 6), (5, 2))
    A.requires_grad_(False)
    before = [A.clone(), B.detach().clone()]
    optimizer = LoRARite(named, lr=0.05, update_skipping=0.0)
    descended(optimizer, A, B, 3)
    assert torch.equal(A, before[0])
    assert not torch.equal(B, before[1])
    A.requires_grad_(True)
    descended(optimizer, A, B, 3)
    assert not torch.equal(A, before[0])


def test_lorarite_balances_pairs() -> None:
    (_, A), (_, B) = named = factors((2, 6), (5, 2))
    optimizer = LoRARite(named, lr=0.0, balance_param=True)
    before = (B @ A).detach()
    torch.testing.assert_close(descended(optimizer, A, B, 1), before, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(A.norm(), B.norm(), rtol=1e-5, atol=0)


def test_lorarite_goes_on_from_a_checkpoint() -> None:
    runs = []
    for _ in range(2):
        (_, A), (_, B) = named = factors((2, 6), (5, 2))
        runs.append((LoRARite(named, lr=0.05, apply_escape=True), A, B))
    descended(*runs[0], 4)
    with torch.no_grad():
        for mine, theirs in zip(runs[1][1:], runs[0][1:], strict=True):
            mine.copy_(theirs)
    runs[1][0].load_state_dict(runs[0][0].state_dict())
    assert torch.equal(descended(*runs[0], 3), descended(*runs[1], 3))
