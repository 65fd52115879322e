"""Parameters in blocks: what a method does to a block is what it does to a parameter of its own."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import Parameter

import optim_core
from optim_core.catalog.specs import OptimizerSpec
from optim_core.errors import InvalidOption, UnsupportedParameter

pytest.importorskip("optim_core_second_order")

from optim_core_second_order import Muon
from optim_core_second_order.blockwise import by_module, with_blocks

METHODS = [
    spec.name
    for spec in optim_core.find(pack="second_order")
    if isinstance(spec, OptimizerSpec) and "blocks" in optim_core.get(spec.name).hypers
]
#: blocks, the parameter's shape, and the blocks of a tensor of that shape
CUTS: list[Any] = [
    pytest.param("rows:4+2", (6, 4), lambda x: [x[:4], x[4:]], id="rows"),
    pytest.param("columns/2", (3, 4), lambda x: [x[:, :2], x[:, 2:]], id="columns"),
    pytest.param("batch rows/2", (2, 4, 3), lambda x: [e[r : r + 2] for e in x for r in (0, 2)], id="experts"),
]


def loss_of(parts: list[Tensor], t: int) -> Tensor:
    return torch.stack([(x - 0.1 * t).pow(2).sum() + 0.3 * x.pow(4).sum() for x in parts]).sum()


@pytest.mark.parametrize(("blocks", "shape", "cut"), CUTS)
@pytest.mark.parametrize("name", METHODS)
def test_a_block_is_a_parameter_of_its_own(name: str, blocks: str, shape: tuple[int, ...], cut: Any) -> None:
    cls = optim_core.get(name)
    if getattr(cls, "random", False):  # other draws for other parameters
        return
    torch.manual_seed(0)
    whole = Parameter(torch.randn(shape, dtype=torch.float64))
    parts = [Parameter(x.detach().clone()) for x in cut(whole)]
    together, apart = cls([whole], lr=0.1, blocks=blocks), cls(parts, lr=0.1)
    for t in range(4):
        if t == 2:  # states are those of one parameter to a checkpoint
            saved = copy.deepcopy(together.state_dict())
            together = cls([whole], lr=0.1, blocks=blocks)
            together.load_state_dict(saved)
        together.minimize(lambda t=t: loss_of(cut(whole), t))
        apart.minimize(lambda t=t: loss_of(parts, t))
        for x, p in zip(cut(whole), parts, strict=True):
            torch.testing.assert_close(x, p, rtol=1e-9, atol=1e-11)
    assert together.state_bytes() == apart.state_bytes()


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        ("rows/5", r"does not fit a parameter of shape \(6, 4\): rows/5 makes 5 of 6 rows"),
        ("columns:3+2", "columns:3\\+2 makes 5 of 4 columns"),
        ("heads", "'heads' is not understood; there are 'batch'"),
    ],
)
def test_blocks_that_do_not_fit(blocks: str, words: str) -> None:
    w = Parameter(torch.ones(6, 4))
    with pytest.raises(InvalidOption, match=words):
        Muon([w], blocks=blocks)
    optimizer = Muon([w])
    with pytest.raises(InvalidOption, match=words):
        optimizer.add_param_group({"params": [Parameter(torch.ones(6, 4))], "blocks": blocks})
    assert len(optimizer.param_groups) == 1


def test_blocks_are_views_of_memory() -> None:
    w = Parameter(torch.ones(4, 2, 3, 3).to(memory_format=torch.channels_last))
    optimizer = Muon([w], blocks="flat")
    with pytest.raises(UnsupportedParameter, match="make it contiguous"):
        optimizer.minimize(lambda: w.square().sum())


def model() -> nn.Module:
    parts = [nn.MultiheadAttention(4, 2), nn.LSTM(4, 3), nn.Conv1d(4, 4, 3, groups=2), nn.Linear(4, 4), nn.Linear(4, 2)]
    return nn.Sequential(*parts)


def test_blocks_by_module() -> None:
    network = model()
    rows = {
        row.name: row.options["blocks"]
        for row in Muon(Muon.groups_of(network, blocks=by_module)).explain()
        if row.method == "Muon"
    }
    assert rows == {
        "0.in_proj_weight": "rows/6",
        "0.out_proj.weight": None,
        "1.weight_ih_l0": "rows/4",
        "1.weight_hh_l0": "rows/4",
        "2.weight": "rows/2",
        "3.weight": None,
    }
    groups = Muon.groups_of(network, blocks={nn.Linear: "columns/2"})
    assert {g["blocks"]: len(g["params"]) for g in groups if g["use_muon"]} == {None: 4, "columns/2": 2}


def test_the_group_rule() -> None:
    optimizer = optim_core.create_optimizer(model(), "soap", groups=("blocks", {"choose": {nn.Conv1d: "flat"}}))
    assert {group["blocks"] for group in optimizer.param_groups} == {None, "flat"}
    plain = optim_core.create_optimizer(model(), "soap", groups="blocks")
    assert {group["blocks"] for group in plain.param_groups} == {None, "rows/6", "rows/4", "rows/2"}
    assert len(with_blocks([], model())) == 0
