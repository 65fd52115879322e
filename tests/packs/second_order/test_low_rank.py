"""What methods of low rank promise beyond the tests that every optimizer passes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from optim_core.errors import InvalidOption

pytest.importorskip("optim_core_second_order")

from optim_core_second_order import Alice


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
