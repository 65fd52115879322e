"""D-Adaptation and Prodigy as trainers use them: step sizes to read, of groups, and by groups."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.small import reloaded
from torch import Tensor
from torch.nn import Parameter

import optim_core
from optim_core.errors import InvalidOption

FAMILY = ["dadaptadagrad", "dadaptadam", "dadaptadan", "dadaptlion", "dadaptsgd", "prodigy"]
#: What an option that is added to a root would hide.
BARE = {
    "dadaptadagrad": {"eps": 1e-300},
    "dadaptadam": {"eps": 1e-300},
    "dadaptadan": {"eps": 1e-300},
    "prodigy": {"eps": 0.0},
}


def loss(a: Tensor, b: Tensor) -> Tensor:
    return (0.5 * torch.tensor([1.0, 2.0, 3.0]) * (a - 1).square()).sum() + (b + 0.5).square().sum()


def start(dtype: torch.dtype = torch.float64) -> tuple[Parameter, Parameter]:
    return Parameter(torch.tensor([0.3, -0.2, 0.1], dtype=dtype)), Parameter(torch.tensor([0.4, 0.2], dtype=dtype))


def run(optimizer: Any, closure: Any, steps: int = 12) -> list[float]:
    return [float(optimizer.minimize(closure)) for _ in range(steps)]


@pytest.mark.parametrize("name", FAMILY)
def test_groups_show_their_step_size(name: str) -> None:
    a, b = start()
    groups = [{"params": [a]}, {"params": [b], "layer_scale": 0.5}]
    optimizer = optim_core.get(name)(groups, lr=0.5, d0=1e-2)
    assert [float(group["d_lr"]) for group in optimizer.param_groups] == pytest.approx([0.005, 0.0025])
    run(optimizer, lambda: loss(a, b))
    d = float(optimizer.param_groups[0]["d"])
    assert d > 1e-2
    assert [float(group["d_lr"]) for group in optimizer.param_groups] == pytest.approx([0.5 * d, 0.25 * d])


@pytest.mark.parametrize("name", [name for name in FAMILY if name != "dadaptadagrad"])  # whose sum starts at 1e-6
def test_a_scale_is_a_change_of_units(name: str) -> None:
    c = 0.25
    a, b = start()
    scaled = optim_core.get(name)([{"params": [a]}, {"params": [b], "layer_scale": c}], d0=1e-2, **BARE.get(name, {}))
    losses = run(scaled, lambda: loss(a, b))
    units = c**0.5 if name == "dadaptsgd" else c  # a gradient step goes by the square of the unit
    p, q = start()
    with torch.no_grad():
        q /= units
    plain = optim_core.get(name)([p, q], d0=1e-2, **BARE.get(name, {}))
    assert losses == pytest.approx(run(plain, lambda: loss(p, q * units)), rel=1e-9)
    assert torch.allclose(b, q * units)


@pytest.mark.parametrize("settings", [{"foreach": False}, {"foreach": True}, {"engine": "native"}])
@pytest.mark.parametrize("name", FAMILY)
def test_split_groups_are_optimizers_of_their_own(name: str, settings: dict[str, Any]) -> None:
    a, b = start()
    groups = [{"params": [a]}, {"params": [b], "lr": 0.5}]
    both = optim_core.get(name)(groups, d0=1e-2, split_groups=True, **settings)
    run(both, lambda: loss(a, b), 6)
    saved = reloaded(both.state_dict())
    both = optim_core.get(name)([{"params": [a]}, {"params": [b], "lr": 0.5}], d0=1e-2, split_groups=True, **settings)
    both.load_state_dict(saved)
    run(both, lambda: loss(a, b), 6)
    p, q = start()
    apart = [optim_core.get(name)([x], d0=1e-2, lr=lr, **settings) for x, lr in ((p, 1.0), (q, 0.5))]
    for _ in range(12):
        loss(p, q).backward()
        for optimizer in apart:
            optimizer.step()
            optimizer.zero_grad()
    assert torch.equal(a, p)
    assert torch.equal(b, q)
    ds = [float(group["d"]) for group in both.param_groups]
    assert ds == [float(optimizer.param_groups[0]["d"]) for optimizer in apart]
    assert ds[0] != ds[1]


def test_what_sums_over_all_groups_is_refused_around_split_ones() -> None:
    a, b = start()
    optimizer: Any = optim_core.get("prodigy")([{"params": [a]}, {"params": [b]}], split_groups=True)
    clipping = optim_core.get_wrapper("gradient_clipping")(optimizer, max_norm=1.0)
    with pytest.raises(InvalidOption, match="with split_groups=True each group is a model of its own"):
        run(clipping, lambda: loss(a, b), 1)
    gc = optim_core.get_wrapper("gc")(optim_core.get("prodigy")([{"params": [a]}, {"params": [b]}], split_groups=True))
    run(gc, lambda: loss(a, b), 2)


def test_different_lr_names_the_ways_out() -> None:
    a, b = start()
    with pytest.raises(
        InvalidOption, match=r"give it a layer_scale, or each group its own step size with split_groups"
    ):
        optim_core.get("prodigy")([{"params": [a]}, {"params": [b], "lr": 0.5}])
