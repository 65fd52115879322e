"""Parameters that a transform leaves alone: each moves as in an optimizer of its own."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import Parameter

import optim_core
from optim_core.errors import InvalidOption

AGC: Any = optim_core.get_wrapper("agc")
NAMES = ("body.weight", "body.bias", "head.weight", "head.bias", "header.weight")
STEPS = 4


def parameters() -> dict[str, Parameter]:
    shapes = [(3, 4), (3,), (2, 3), (2,), (4, 4)]
    return {
        name: Parameter(torch.sin(torch.arange(12.0).double() + i)[: torch.Size(shape).numel()].reshape(shape))
        if torch.Size(shape).numel() <= 12
        else Parameter(torch.cos(torch.arange(16.0).double()).reshape(shape))
        for i, (name, shape) in enumerate(zip(NAMES, shapes, strict=True))
    }


def step(optimizer: Any, params: dict[str, Parameter]) -> None:
    def loss() -> Tensor:
        return torch.stack([(30 * (p - 0.3)).square().sum() for p in params.values()]).sum()

    optim_core.minimize(optimizer, loss)


def sgd(params: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, lr=1e-3, momentum=0.9, weight_decay=0.1)


def composed(params: Any) -> torch.optim.Optimizer:
    return optim_core.get("sgd")(params, lr=1e-3, momentum=0.9, weight_decay=0.1)


def compiled(params: Any) -> torch.optim.Optimizer:
    return optim_core.get("adamw")(params, lr=1e-3, eps=1e-2, engine="native")


def on_stacks(params: Any) -> torch.optim.Optimizer:
    return optim_core.get("shampoo")(params, lr=1e-3)


def between(params: Any) -> Any:
    return optim_core.get_wrapper("lookahead")(optim_core.get_wrapper("gc")(sgd(params)), k=2)


@pytest.mark.parametrize("make", [sgd, composed, compiled, on_stacks, between])
def test_what_is_excluded_moves_as_without_the_wrapper(make: Any) -> None:
    together, apart = parameters(), parameters()
    spared = [name for name in NAMES if name.startswith("head.")]
    one = AGC(make(list(together.items())), exclude=["head"])
    clipped = AGC(make([(name, p) for name, p in apart.items() if name not in spared]))
    free = make([(name, apart[name]) for name in spared])
    for _ in range(STEPS):
        step(one, together)
        step(clipped, {name: p for name, p in apart.items() if name not in spared})
        step(free, {name: apart[name] for name in spared})
    torch.testing.assert_close(together, apart, rtol=1e-12, atol=1e-14)
    everything = parameters()
    other = AGC(make(list(everything.items())))
    for _ in range(STEPS):
        step(other, everything)
    assert not torch.allclose(everything["head.weight"], together["head.weight"])


@pytest.mark.parametrize("make", [sgd, composed])
def test_later_groups_copies_and_checkpoints(make: Any) -> None:
    params = parameters()
    head = [(name, params[name]) for name in NAMES if name.startswith("head.")]
    first = [(name, p) for name, p in params.items() if not name.startswith("head.")]
    at_once, whole = AGC(make(list(params.items())), exclude=["head"]), parameters()
    later = AGC(make([*first, head[0]]), exclude=["head"])
    later.add_param_group({"params": head[1:]})
    assert [row.name for row in later.explain() if not row.wrappers] == ["head.weight", "head.bias"]
    step(later, params)
    clone = copy.deepcopy(later)
    copies = dict(zip(NAMES, [p for name in NAMES for p, n in _named(clone) if n == name], strict=True))
    at_once = AGC(make(list(whole.items())), exclude=["head"])
    step(at_once, whole)
    torch.testing.assert_close(params, whole, rtol=0, atol=0)
    for optimizer, mine in ((later, params), (clone, copies), (at_once, whole)):
        optimizer.load_state_dict(optimizer.state_dict())
        step(optimizer, mine)
    torch.testing.assert_close(params, whole, rtol=0, atol=0)
    torch.testing.assert_close(params, copies, rtol=0, atol=0)


def _named(optimizer: Any) -> list[tuple[Parameter, str]]:
    groups = optimizer.param_groups
    return [pair for group in groups for pair in zip(group["params"], group["param_names"], strict=True)]


def test_a_model_s_head_by_name() -> None:
    model = nn.Sequential()
    model.add_module("body", nn.Linear(4, 4))
    model.add_module("head", nn.Linear(4, 2))
    optimizer = optim_core.create_optimizer(model, "adamw", wrappers=[("agc", {"exclude": ["head"]})])
    around = {row.name: row.wrappers for row in optimizer.explain()}
    assert around["body.weight"] == ("AGC(clip_factor=0.01, eps=0.001)",)
    assert around["head.weight"] == around["head.bias"] == ()


def test_what_is_refused_says_what_to_do() -> None:
    params = parameters()
    with pytest.raises(InvalidOption, match=r"exclude='head' should be a list of names, such as \['head'\]"):
        AGC(sgd(list(params.items())), exclude="head")
    with pytest.raises(InvalidOption, match=r"build the base with model.named_parameters\(\)"):
        AGC(sgd(list(params.values())), exclude=["head"])
    with pytest.raises(InvalidOption, match=r"exclude names 'haed', but no parameter .* Did you mean 'head'"):
        AGC(sgd(list(params.items())), exclude=["body", "haed"])
