"""create_optimizer: groups by layer, decay, wrappers by flag and name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import Parameter

import optim_core
from optim_core.errors import InvalidOption, UnknownOption


class LlamaRMSNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = Parameter(torch.ones(4))


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.norm_proj = nn.Linear(4, 4)
        self.norms = nn.ModuleList(
            [nn.LayerNorm(4), nn.BatchNorm1d(4), nn.GroupNorm(2, 4), nn.RMSNorm(4), LlamaRMSNorm()]
        )
        self.multihead_attn = nn.MultiheadAttention(4, 2)
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.embedding.weight
        self.frozen = Parameter(torch.ones(2), requires_grad=False)


DECAYED = {
    "embedding.weight",
    "norm_proj.weight",
    "multihead_attn.in_proj_weight",
    "multihead_attn.out_proj.weight",
}


@pytest.mark.parametrize("name", ["adamw", "torch:adamw"])
def test_decay_goes_by_layer_not_by_substring(name: str) -> None:
    optimizer = optim_core.create_optimizer(Model(), name, lr=0.1, weight_decay=0.3)
    rows = {row.name: row for row in optim_core.explain(optimizer)}
    assert {n for n, row in rows.items() if row.weight_decay} == DECAYED
    assert "frozen" not in rows
    assert "head.weight" not in rows  # tied, and met first as the embedding's
    assert rows["norms.4.weight"].decay == "no decay: biases and parameters of normalisation layers"
    assert all(row.lr == 0.1 for row in rows.values())


def test_decay_as_asked() -> None:
    everything = optim_core.create_optimizer(Model(), "adamw", weight_decay=0.3, no_decay=None)
    assert {row.weight_decay for row in everything.explain()} == {0.3}
    chosen = optim_core.create_optimizer(Model(), "adamw", no_decay=lambda name, module, p: "embedding" in name)
    assert [row.name for row in chosen.explain() if not row.weight_decay] == ["embedding.weight"]
    with pytest.raises(InvalidOption, match="needs the model"):
        optim_core.create_optimizer([Parameter(torch.ones(1))], "adamw", no_decay=lambda *_: True)
    with pytest.raises(InvalidOption, match="'none' is neither"):
        optim_core.create_optimizer(Model(), "adamw", no_decay="none")  # type: ignore[arg-type]
    with pytest.raises(UnknownOption, match="SignSGD has no option 'eps'"):
        optim_core.create_optimizer(Model(), "signsgd", eps=1e-3)


class Sorting(optim_core.RuleOptimizer):
    """Descent that treats embeddings in their own way."""

    lr: float = optim_core.hyper(0.1, "step size", ge=0)
    weight_decay: float = optim_core.decoupled(0.1)
    sparing: bool = optim_core.hyper(False, "a tenth of the step")

    @classmethod
    def groups_of(cls, model: nn.Module) -> list[dict[str, Any]]:
        whole = super().groups_of(model)[0]["params"]
        inside = [(name, p) for name, p in whole if "embedding" in name]
        return [
            {"params": [(name, p) for name, p in whole if "embedding" not in name]},
            {"params": inside, "sparing": True},
        ]

    @staticmethod
    def rule(p: Any, g: Any, *, lr: Any, sparing: bool) -> Any:
        return p - (lr / 10 if sparing else lr) * g


def test_a_method_sorts_a_whole_model(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {name for name, p in Model().named_parameters() if p.requires_grad}
    assert {row.name for row in optim_core.explain(optim_core.get("adamw")(Model()))} == names
    assert [len(group["params"]) for group in Sorting(Model()).param_groups] == [len(names) - 1, 1]
    monkeypatch.setattr("optim_core.factory.get", lambda name: Sorting)
    groups = optim_core.create_optimizer(Model(), "sorting").param_groups
    got = [(group["sparing"], group["weight_decay"], len(group["params"])) for group in groups]
    assert got == [(False, 0.1, len(DECAYED) - 1), (False, 0.0, len(names) - len(DECAYED)), (True, 0.1, 1)]


def test_wrappers_by_flag_name_and_options() -> None:
    optimizer = optim_core.create_optimizer(
        nn.Linear(2, 2), "lion", use_gc=True, wrappers=["sam"], use_lookahead={"k": 3}
    )
    names = [w.partition("(")[0] for w in next(iter(optim_core.explain(optimizer))).wrappers]
    assert names == ["GradientCentralization", "SAM", "Lookahead"]
    with pytest.raises(UnknownOption, match=r"it takes use_gc and use_lookahead.*wrappers=\['agc'\]"):
        optim_core.create_optimizer(nn.Linear(2, 2), "lion", use_agc=True)
