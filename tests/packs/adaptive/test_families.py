"""What golden trajectories do not see: options that depend on names, on each other, and on a schedule."""

from __future__ import annotations

import pytest
import torch
from support.small import copies, equal, parameters, train
from torch import nn
from torch.nn import Parameter

import optim_core
from optim_core.errors import InvalidOption


# Adam-mini -----------------------------------------------------------------------------------------------------
def names(*given: str, shape: tuple[int, ...] = (4, 4)) -> list[tuple[str, Parameter]]:
    return list(zip(given, parameters(*[shape] * len(given)), strict=True))


def test_adam_mini_cuts_a_group_by_names() -> None:
    given = names("embed.weight", "q_proj.weight", "q_proj.bias", "mlp.weight", "mlp.norm.weight", "conv.weight")
    optimizer = optim_core.get("adammini")(given, weight_decay=0.1, dim=4, n_heads=2)
    found = {(g["block"], g["weight_decay"]): g["param_names"] for g in optimizer.param_groups}
    assert found == {
        ("row", 0.1): ["embed.weight", "mlp.weight"],
        ("head", 0.1): ["q_proj.weight"],
        ("element", 0.0): ["q_proj.bias"],
        ("row", 0.0): ["mlp.norm.weight"],
        ("tensor", 0.1): ["conv.weight"],
    }
    train(optimizer)
    shapes = {
        name: [tuple(x.shape) for key, x in optimizer.state[p].items() if key.startswith("vmean")] for name, p in given
    }
    assert shapes["embed.weight"] == [(4, 1)]
    assert shapes["q_proj.weight"] == [(2, 1)]
    assert shapes["q_proj.bias"] == [(4, 4)]
    assert shapes["conv.weight"] == [()]


def test_adam_mini_takes_rows_where_heads_do_not_divide() -> None:
    given = names("wq.weight", shape=(3, 4))
    optimizer = optim_core.get("adammini")(given, dim=8, n_heads=2)
    train(optimizer)
    assert optimizer.state[given[0][1]]["vmean_head"].shape == (3, 1)


def test_adam_mini_takes_a_block_for_names() -> None:
    cls = optim_core.get("adammini")
    optimizer = cls([{"params": parameters(), "block": "row"}])
    assert [group["block"] for group in optimizer.param_groups] == ["row"]
    assert cls(nn.Linear(3, 2)).param_groups[0]["block"] == "tensor"


def test_adam_mini_without_names_takes_rows() -> None:
    for params in (parameters(), [{"params": parameters()[0]}]):
        groups = optim_core.get("adammini")(params, weight_decay=0.1).param_groups
        assert [(group["block"], group["weight_decay"]) for group in groups] == [("row", 0.1)]


# schedules -----------------------------------------------------------------------------------------------------
def test_mars_keeps_the_proportion_of_its_step_sizes() -> None:
    optimizer = optim_core.get("mars")(parameters(), lr=0.1, lr_1d=0.02, weight_decay_1d=0.0)
    matrix, vector = optimizer.param_groups[0]["params"]
    before = copies([matrix, vector])
    optimizer.param_groups[0]["lr"] = 0.05
    train(optimizer)
    steps = [float((p.detach() - x).abs().max()) for p, x in zip((matrix, vector), before, strict=True)]
    assert steps == pytest.approx([0.05, 0.01], rel=1e-4)
    optimizer.add_param_group({"params": parameters((3,)), "lr": 0.01})
    assert [group["ratio_1d"] for group in optimizer.param_groups] == pytest.approx([0.2, 2.0])


def test_ftrl_keeps_what_it_has_learned_when_lr_falls() -> None:
    optimizer = optim_core.get("ftrl")(parameters(), lr=0.1)
    params = optimizer.param_groups[0]["params"]
    train(optimizer, 5)
    before = copies(params)
    optimizer.param_groups[0]["lr"] = 1e-9
    train(optimizer)
    assert all(torch.allclose(p, x, atol=1e-8) for p, x in zip(params, before, strict=True))


def test_ftrl_leaves_weights_without_gradients() -> None:
    w = Parameter(torch.tensor([1.0, -2.0]))
    optimizer = optim_core.get("ftrl")([w], lr=0.1)
    optimizer.minimize(lambda: w.square()[0])
    assert w.tolist() == pytest.approx([0.9, -2.0])


def test_rose_decay_relative_to_an_lr() -> None:
    cls = optim_core.get("rose")
    assert cls(parameters(), lr=0.1, wd_schedule=True).param_groups[0]["wd_schedule"] == 0.1
    w = Parameter(torch.ones(2))
    optimizer = cls([w], lr=0.1, weight_decay=0.5, wd_schedule=0.2)
    optimizer.minimize(lambda: 0 * w.sum())
    assert w.tolist() == [0.75, 0.75]
    with pytest.raises(InvalidOption, match="wd_schedule is an lr that the decay is relative to: it cannot be 0"):
        cls(parameters(), lr=0.0, wd_schedule=True)


# what is forgotten, found, or joined later -----------------------------------------------------------------------
@pytest.mark.parametrize("name", ["spam", "stablespam"])
def test_moments_are_forgotten_at_intervals(name: str) -> None:
    gap = {"spam": "delta_t", "stablespam": "update_proj_gap"}[name]
    often, never = (optim_core.get(name)(parameters(), lr=0.01, **{gap: k}) for k in (3, 0))
    for t in range(1, 4):
        for optimizer in (often, never):
            train(optimizer)
        same = equal(often.param_groups[0]["params"], never.param_groups[0]["params"])
        assert same is (t < 3)


@pytest.mark.parametrize("name", ["dog", "dowg", "momo", "momoadam"])
def test_a_group_with_lr_0_counts_for_nothing(name: str) -> None:
    alone = optim_core.get(name)(parameters())
    frozen = parameters((2, 2))
    both = optim_core.get(name)([{"params": parameters()}, {"params": frozen, "lr": 0.0}])
    before = copies(frozen)
    for _ in range(4):
        for optimizer in (alone, both):
            params = optimizer.param_groups[0]["params"]
            optimizer.minimize(lambda params=params: sum(p.square().sum() for p in [*params, *(0 * x for x in frozen)]))
    assert equal(frozen, before)
    assert equal(alone.param_groups[0]["params"], both.param_groups[0]["params"])


@pytest.mark.parametrize("name", ["dog", "dowg", "momo", "momoadam"])
def test_a_warm_up_from_0_begins_with_its_second_step(name: str) -> None:
    warm, plain = (optim_core.get(name)(parameters()) for _ in range(2))
    lr, warm.param_groups[0]["lr"] = warm.param_groups[0]["lr"], 0.0
    train(warm)
    warm.param_groups[0]["lr"] = lr
    for optimizer in (warm, plain):
        train(optimizer, 3)
    for a, b in zip(warm.param_groups[0]["params"], plain.param_groups[0]["params"], strict=True):
        assert torch.allclose(a, b, rtol=1e-12)


def test_suds_begins_with_the_first_gradient_that_is_not_zero() -> None:
    w = Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = optim_core.get("suds")([w], lr=0.1)
    optimizer.minimize(lambda: 0 * w.sum())
    optimizer.minimize(lambda: w.square().sum())
    assert w.tolist() == [1.0, -2.0]
    assert float(optimizer.state[w]["fisher_approx"].norm()) == pytest.approx(1.0)
    optimizer.minimize(lambda: w.square().sum())
    assert w.tolist() != [1.0, -2.0]


def test_caution_leaves_out_what_goes_against_the_gradient() -> None:
    w = Parameter(torch.tensor([1.0, 1.0], dtype=torch.float64))
    optimizer = optim_core.get("signlaprop")([w], lr=0.1, caution=True)
    optimizer.minimize(w.sum)
    before = w.detach().clone()
    optimizer.minimize(lambda: w[0] - 0.01 * w[1])  # the average of w[1] still goes down
    assert w[1] == before[1]
    assert w[0] < before[0]


def test_grokadamw_forgets_slow_gradients_as_the_losses_part() -> None:
    runs = {}
    for losses in ({}, {"train_loss": 0.1, "eval_loss": 0.1}, {"train_loss": 0.1, "eval_loss": 2.0}):
        optimizer = optim_core.get("grokadamw")(parameters(), lr=0.01, grokking_signal_decay_rate=3.0, gamma=0.0)
        optimizer.param_groups[0].update(losses)
        train(optimizer, 3)
        runs[len(runs)] = optimizer.param_groups[0]["params"]
    assert equal(runs[0], runs[1])
    assert not equal(runs[0], runs[2])
