"""Rules for parameter groups, against the groups that timm and optimi make of a small model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from support import golden
from torch import nn

import optim_core
from optim_core.errors import InvalidOption
from optim_core.grouping import groups_by

MATCHER = {"stem": "^pos_embed|cls_token|stem", "blocks": [(r"^blocks\.(\d+)", None), ("^scale", (99999,))]}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        found = [(name, case) for name, case in golden.cases() if case.get("problem") == "groups"]
        metafunc.parametrize(("name", "case"), found, ids=[f"{name}-{case['case']}" for name, case in found])


def toy(how: str) -> nn.Module:
    """The model that a case describes."""
    model = nn.Module()
    for name, numbers in re.findall(r"([\w.]+) \(([\d, ]*)\)", how.partition("registration order ")[2]):
        *path, last = name.split(".")
        module = model
        for part in path:
            if part not in dict(module.named_children()):
                module.add_module(part, nn.Module())
            module = module.get_submodule(part)
        shape = [int(x) for x in numbers.split(",") if x.strip()]
        module.register_parameter(last, nn.Parameter(torch.ones(shape), requires_grad=not name.startswith("frozen.")))
    return model


def test_groups(name: str, case: Mapping[str, Any]) -> None:
    options = {k: v for k, v in case["kwargs"].items() if k != "weight_decay"}
    decay = case["kwargs"]["weight_decay"]
    if "group_matcher: " in case["how"]:
        options["group_matcher"] = MATCHER
    if "classifier prefix 'head'" in case["how"]:
        options["head"] = "head"
    groups = groups_by((name, options), toy(case["how"]), lr=0.1, weight_decay=decay)
    found = [
        {"names": [n for n, _ in g["params"]], "weight_decay": g.get("weight_decay", decay)}
        | ({"lr_scale": g["lr"] / 0.1} if "lr_scale" in g else {})
        for g in groups
    ]
    assert [{**g, "lr_scale": pytest.approx(g["lr_scale"])} if "lr_scale" in g else g for g in found] == case["groups"]


class Adapted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.ParameterDict({"lora_embedding_A": torch.ones(2, 3), "lora_embedding_B": torch.ones(3, 2)})
        self.q = nn.ModuleDict({"lora_A": nn.Linear(3, 2, bias=False), "lora_B": nn.Linear(2, 3, bias=False)})
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)


def test_lora_plus() -> None:
    def lrs(**options: Any) -> dict[str, float]:
        made = optim_core.create_optimizer(Adapted(), "adamw", lr=1.0, groups=("lora_plus", options))
        return {row.name: row.lr for row in optim_core.explain(made)}

    names = ("q.lora_A.weight", "embed.lora_embedding_A", "q.lora_B.weight", "embed.lora_embedding_B")
    assert lrs() == dict(zip(names, (1.0, 1.0, 16.0, 16.0), strict=True))
    assert lrs(ratio=4.0, embedding_lr=0.1) == dict(zip(names, (1.0, 0.1, 4.0, 0.1), strict=True))
    assert lrs(pattern="lora_A")["q.lora_A.weight"] == 16.0
    for options, text in (
        ({"pattern": "up"}, "no trainable parameter is called as B is"),
        ({"ratio": 0.5}, "at least 1"),
    ):
        with pytest.raises(InvalidOption, match=text):
            lrs(**options)


def test_layer_decay_of_a_model_that_knows_its_layers() -> None:
    model: Any = nn.ModuleDict(
        {"stem": nn.Linear(2, 2), "blocks": nn.ModuleList([nn.Linear(2, 2)] * 1), "head": nn.Linear(2, 2)}
    )
    model.group_matcher = lambda coarse=False: {"stem": "stem", "blocks": r"blocks\.(\d+)"}
    made = optim_core.create_optimizer(
        model, "adamw", lr=1.0, groups=("layer_decay", {"layer_decay": 0.5, "no_opt_scale": 0.3})
    )
    assert {row.name: row.lr for row in optim_core.explain(made) if "bias" in row.name} == {
        "blocks.0.bias": 0.5,
        "head.bias": 1.0,
    }
    assert not model["stem"].weight.requires_grad
    with pytest.raises(InvalidOption, match="does not know the last layer"):
        optim_core.create_optimizer(nn.Linear(2, 2), "adamw", groups="layer_decay")
    with pytest.raises(InvalidOption, match="layer_decay=2 should be above 0 and at most 1"):
        optim_core.create_optimizer(model, "adamw", groups=("layer_decay", {"layer_decay": 2}))
