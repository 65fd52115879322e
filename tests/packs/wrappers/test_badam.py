"""Which block of a model BAdam trains, when, and what it leaves alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import Parameter

import optim_core
from optim_core.errors import InvalidOption

pytest.importorskip("optim_core_wrappers")

from optim_core_wrappers import EMA, BAdam

BASES = ["adamw", "torch:AdamW"]


def model(layers: int = 3) -> nn.Module:
    """A small language model, as far as its names go."""
    torch.manual_seed(0)
    net = nn.Module()
    net.embed_tokens = nn.Embedding(5, 4)
    net.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(layers))
    net.lm_head = nn.Linear(4, 5)
    return net


def loss_of(net: Any) -> Any:
    x = net.embed_tokens(torch.arange(5))
    for layer in net.layers:
        x = x + layer(x).tanh()
    return nn.functional.cross_entropy(net.lm_head(x), torch.arange(5))


def base_of(net: nn.Module, base: str = "adamw") -> Any:
    if base == "adamw":
        return optim_core.get("adamw")(net.named_parameters(), lr=0.1)
    return torch.optim.AdamW(net.named_parameters(), lr=0.1)


def trained(net: nn.Module) -> set[str]:
    """The modules that ask for gradients."""
    return {name.rpartition(".")[0] for name, p in net.named_parameters() if p.requires_grad}


def turns(optimizer: Any, net: nn.Module, steps: int) -> list[set[str]]:
    """What is trained by each of so many steps."""
    found = []
    for _ in range(steps):
        found.append(trained(net))
        optimizer.minimize(lambda: loss_of(net))
    return found


def test_layers_take_turns() -> None:
    net = model()
    optimizer = BAdam(base_of(net), switch_every=2)
    layers = [{f"layers.{i}"} for i in (2, 1, 1, 0, 0, 2, 2)]
    assert turns(optimizer, net, 7) == layers


def test_embeddings_come_first_and_the_rest_last_if_they_are_asked_for() -> None:
    net = model(2)
    include = {"include_embedding": True, "include_lm_head": True}
    optimizer = BAdam(base_of(net), switch_every=1, order="ascending", **include)
    assert turns(optimizer, net, 4) == [{"embed_tokens"}, {"layers.0"}, {"layers.1"}, {"lm_head"}]


def test_names_that_begin_alike_are_blocks_of_their_own() -> None:
    net = model(11)
    optimizer = BAdam(base_of(net), switch_every=1, order="ascending", start_block=1)
    assert turns(optimizer, net, 1) == [{"layers.1"}]
    parts = {"layers.1", "layers.10"}
    by_part = BAdam(base_of(model(11)), blocks=[["layers.1"]])
    assert {name.rpartition(".")[0] for name, p in zip_names(by_part) if p.requires_grad} == parts


def zip_names(optimizer: Any) -> list[tuple[str, Parameter]]:
    group = optimizer.param_groups[0]
    return list(zip(group["param_names"], group["params"], strict=True))


@pytest.mark.parametrize("start", [None, 1])
def test_each_round_of_a_random_order_has_each_block_once(start: int | None) -> None:
    net = model()
    optimizer = BAdam(base_of(net), switch_every=1, order="random", start_block=start)
    found = [min(names) for names in turns(optimizer, net, 31)]
    rounds = found[:30] if start is None else found[1:]
    assert all(len({*rounds[i : i + 3]}) == 3 for i in range(0, 30, 3))
    assert len({tuple(rounds[i : i + 3]) for i in range(0, 30, 3)}) > 2
    assert start is None or found[0] == "layers.1"


def test_what_is_active_always_trains_and_what_was_frozen_never() -> None:
    net = model()
    net.layers[1].bias.requires_grad_(False)
    before = net.layers[1].bias.clone()
    optimizer = BAdam(base_of(net), switch_every=1, order="ascending", active=["lm_head"])
    assert turns(optimizer, net, 3) == [{"layers.0", "lm_head"}, {"layers.1", "lm_head"}, {"layers.2", "lm_head"}]
    assert torch.equal(net.layers[1].bias, before)
    assert not net.layers[1].bias.requires_grad


@pytest.mark.parametrize("base", BASES)
def test_there_are_states_of_one_block_and_they_begin_anew(base: str) -> None:
    net = model()
    optimizer = BAdam(base_of(net, base), switch_every=3, order="fixed", active=["lm_head"])
    steps = []
    for _ in range(6):
        optimizer.minimize(lambda: loss_of(net))
        steps.append(int(max((float(state.get("step", 0)) for state in optimizer.state.values()), default=0)))
        assert sum(bool(state) for state in optimizer.state.values()) <= 4
    assert steps == [1, 0, 1, 2, 0, 1]


@pytest.mark.parametrize("outside", [True, False])
@pytest.mark.parametrize("base", BASES)
def test_what_other_wrappers_keep_stays(base: str, outside: bool) -> None:
    net = model()
    inner = base_of(net, base)
    average: Any
    if outside:
        optimizer = average = EMA(BAdam(inner, switch_every=2), decay=0.9)
    else:
        average = EMA(inner, decay=0.9)
        optimizer = BAdam(average, switch_every=2)
    for _ in range(8):
        optimizer.minimize(lambda: loss_of(net))
    assert all("ema" in average.memory[p] for layer in net.layers for p in layer.parameters())


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("order", ["descending", "random"])
def test_a_training_goes_on_in_the_same_block(base: str, order: str) -> None:
    net = model()
    optimizer = BAdam(base_of(net, base), switch_every=3, order=order)
    turns(optimizer, net, 7)
    other = model()
    other.load_state_dict(net.state_dict())
    resumed = BAdam(base_of(other, base), switch_every=3, order=order)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert turns(resumed, other, 7) == turns(optimizer, net, 7)
    assert all(map(torch.equal, net.parameters(), other.parameters()))


def test_a_copy_knows_what_rests() -> None:
    net = model()
    optimizer = BAdam(base_of(net), switch_every=1)
    other, copied = copy.deepcopy((net, optimizer))
    assert turns(copied, other, 4) == turns(optimizer, net, 4)


def test_what_is_wrong_is_said() -> None:
    net = model()
    with pytest.raises(InvalidOption, match=r"has 0 for 9 of them: build the base with model\.named_parameters\(\)"):
        BAdam(torch.optim.AdamW(net.parameters()))
    with pytest.raises(InvalidOption, match=r"belongs to the block \['layer\.'\]: give each block as a list"):
        BAdam(base_of(net), blocks=[["layers.0."], ["layer."]])
    with pytest.raises(InvalidOption, match=r"no parameter belongs to the block 'layers\.0\.'"):
        BAdam(base_of(net), blocks=["layers.0."])
    with pytest.raises(InvalidOption, match=r"start_block=3 of 3 blocks: give 0 to 2"):
        BAdam(base_of(net), start_block=3)
    with pytest.raises(InvalidOption, match=r"n_blocks=10 cuts 9 parameters into as many blocks: give no more"):
        BAdam(base_of(net), n_blocks=10)
    with pytest.raises(InvalidOption, match=r"n_blocks=2 cuts 9 parameters .* and no blocks beside it"):
        BAdam(base_of(net), n_blocks=2, blocks=[["layers"]])


def test_any_model_can_be_cut() -> None:
    net = nn.Sequential(*(nn.Linear(2, 2) for _ in range(3)))
    BAdam(optim_core.get("sgd")(net.named_parameters(), lr=0.1), switch_every=1)
    assert len(trained(net)) == 3
    cut = BAdam(optim_core.get("sgd")(net.named_parameters(), lr=0.1), switch_every=1, n_blocks=3)
    found = []
    for _ in range(3):
        found.append(trained(net))
        cut.minimize(lambda: net(torch.ones(1, 2)).square().sum())
    assert found == [{"2"}, {"1"}, {"0"}]
