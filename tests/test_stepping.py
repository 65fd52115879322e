"""create_optimizer, minimize over anybody's optimizer, checkpoints by name."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import Parameter

import optim_core
from optim_core.errors import CheckpointMismatch, ClosureError, GraphMissing, InvalidOption, UnknownOption


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


# minimize ------------------------------------------------------------------------------------------------------
TORCH = [
    cls
    for name, cls in sorted(vars(torch.optim).items())
    if inspect.isclass(cls) and issubclass(cls, torch.optim.Optimizer) and name not in ("Optimizer", "SparseAdam")
]


@pytest.mark.parametrize("cls", TORCH, ids=lambda cls: cls.__name__)
def test_minimize_takes_any_optimizer_of_torch(cls: Any) -> None:
    w = Parameter(torch.full((3, 3), 2.0))
    optimizer = cls([w], lr=0.1)
    loss = optim_core.minimize(optimizer, lambda: w.square().sum())
    assert loss.item() == 36.0
    assert not loss.requires_grad
    assert w.square().sum().item() < 36.0


def test_closures_that_do_something_else() -> None:
    w = Parameter(torch.ones(2))
    for optimizer in (optim_core.get("adamw")([w]), torch.optim.SGD([w], lr=0.1)):

        def backward() -> Any:
            loss = w.sum()
            loss.backward()
            return loss

        for closure, text in {
            backward: r"has called backward\(\)",
            lambda: None: "should return the loss",
            lambda: w * 2: r"a tensor of shape \(2,\)",
            lambda: w.sum().detach(): "without a graph",
            lambda: [w.sum(), w.sum()]: r"returned 2 losses.*get_wrapper\('pcgrad'\)",
        }.items():
            with pytest.raises(ClosureError, match=text):
                optim_core.minimize(optimizer, closure)
            optimizer.zero_grad()
    assert w.tolist() == [1.0, 1.0]


def test_a_second_order_method_without_its_graph() -> None:
    w = Parameter(torch.ones(2))
    for name in ("sophia", "adahessian"):
        optimizer = optim_core.get(name)([w])
        w.square().sum().backward()
        with pytest.raises(GraphMissing, match=r"create_graph=True.*optimizer\.minimize\(closure\)"):
            optimizer.step()
        assert w.tolist() == [1.0, 1.0]


def test_steps_leave_no_graph_behind() -> None:
    w = Parameter(torch.ones(2))
    optim_core.get("adahessian")([w]).minimize(lambda: torch.sum(w**3))
    assert w.grad is not None
    assert w.grad.grad_fn is None


# checkpoints ---------------------------------------------------------------------------------------------------
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
    with pytest.raises(CheckpointMismatch, match="exp_avg_sq, which Lion does not keep"):
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
