"""Loading is checked as a whole before anything changes, and goes by what the user means."""

from __future__ import annotations

import copy
import functools
from typing import Any

import pytest
import torch
from support.methods import optimizers
from support.small import assert_close, equal, parameters, reloaded, train
from torch import Tensor, nn
from torch.nn import Parameter

import optim_core
from optim_core.catalog.specs import OptimizerSpec
from optim_core.errors import CheckpointMismatch, OptimCoreError
from optim_core.optimizers.optimizer import RuleOptimizer

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")


def built(spec: OptimizerSpec) -> Any:
    """The method on a small model."""
    options = {"total_steps": 20} if "total_steps" in spec.needs else {}
    return optim_core.get(spec.name)(list(zip("ab", parameters(), strict=True)), **options)


def saved_by(spec: OptimizerSpec) -> tuple[Any, dict[str, Any]]:
    """The method after two steps, and its state."""
    optimizer = built(spec)
    if not isinstance(optimizer, RuleOptimizer):
        pytest.skip("torch's own")
    train(optimizer, 2)
    return optimizer, reloaded(optimizer.state_dict())


def tried(saved: dict[str, Any]) -> list[tuple[int, str]]:
    """Parameters and states of theirs, of a numbered series the first and the last; L-BFGS has two hundred of each."""
    found = []
    for k, entry in saved["state"].items():
        series: dict[str, list[str]] = {}
        for name in entry:
            series.setdefault(name.rstrip("0123456789"), []).append(name)
        found += [(k, name) for names in series.values() for name in dict.fromkeys((names[0], names[-1]))]
    return found


def snapshot(optimizer: Any) -> str:
    """All that loading could change."""
    return str((optimizer.param_groups, list(optimizer.state.values())))


def refuses(optimizer: Any, saved: Any, text: str) -> None:
    before = snapshot(optimizer)
    with pytest.raises(CheckpointMismatch, match=text):
        optimizer.load_state_dict(saved)
    assert snapshot(optimizer) == before


each = pytest.mark.parametrize("spec", optimizers(), ids=lambda spec: spec.name)


@each
def test_a_parameter_without_one_of_its_states_is_refused(spec: OptimizerSpec) -> None:
    optimizer, saved = saved_by(spec)
    for k, name in tried(saved):
        if name in ("step", "salt"):
            continue  # of the core, not of the rule
        broken = copy.deepcopy(saved)
        del broken["state"][k][name]
        refuses(optimizer, broken, f"the checkpoint lacks {name} of {'ab'[k]}.* strict=False")
        other = built(spec)
        result = other.load_state_dict(broken, strict=False)
        assert f"{'ab'[k]}.{name}" in result.missing_keys
        train(other)


@each
def test_every_shape_is_checked(spec: OptimizerSpec) -> None:
    optimizer, saved = saved_by(spec)
    for k, name in tried(saved):
        x = saved["state"][k][name]
        if not isinstance(x, torch.Tensor):
            continue
        broken = copy.deepcopy(saved)
        broken["state"][k][name] = torch.zeros(7, 5, dtype=x.dtype)
        refuses(optimizer, broken, rf"{name} of {'ab'[k]} in the checkpoint has shape \(7, 5\)")


@each
def test_nobody_takes_the_state_of_another_method(spec: OptimizerSpec) -> None:
    class Another(RuleOptimizer):
        lr: float = optim_core.hyper(0.1, "step size")
        strange = optim_core.state("of its own")

        @staticmethod
        def rule(p: Any, g: Any, strange: Any, *, lr: Any) -> Any:
            return p - lr * g, strange

    optimizer, saved = saved_by(spec)
    foreign = Another(list(zip("ab", parameters(), strict=True)))
    train(foreign)
    refuses(optimizer, foreign.state_dict(), "saved by another method, Another, .* build Another")
    refuses(foreign, saved, f"saved by another method, {type(optimizer).__name__}")
    before = snapshot(optimizer)
    assert "Another" in optimizer.load_state_dict(foreign.state_dict(), strict=False).unexpected_keys
    assert snapshot(optimizer) == before


@each
def test_inference_mode_leaves_ordinary_tensors(spec: OptimizerSpec) -> None:
    optimizer, saved = saved_by(spec)
    other = built(spec)
    with torch.no_grad():
        for p, q in zip(params_of(optimizer), params_of(other), strict=True):
            q.copy_(p)
    with torch.inference_mode():
        other.load_state_dict(copy.deepcopy(saved))
    train(optimizer)
    train(other)
    assert equal(params_of(optimizer), params_of(other))


def params_of(optimizer: Any) -> list[Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"]]


# names ---------------------------------------------------------------------------------------------------------
def adamw(names: list[str], **options: Any) -> Any:
    """adamw on as many parameters, the k-th full of k + 1."""
    optimizer = optim_core.get("adamw")(
        [(n, Parameter(torch.full((2,), k + 1.0))) for k, n in enumerate(names)], **options
    )
    optimizer.minimize(lambda: torch.stack([(k + 1) * p.sum() for k, p in enumerate(params_of(optimizer))]).sum())
    return optimizer


def averages(optimizer: Any) -> dict[str, float]:
    """The first moment by name."""
    (group,) = optimizer.param_groups
    pairs = zip(group["param_names"], group["params"], strict=True)
    return {n: round(float(optimizer.state[p]["exp_avg"][0]), 3) for n, p in pairs if optimizer.state[p]}


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("forwards", [True, False])
def test_prefixes_of_compiled_and_distributed_models_make_no_difference(prefix: str, forwards: bool) -> None:
    plain, wrapped = ["a.weight", "module.b"], [f"{prefix}a.weight", f"{prefix}module.b"]
    saved = adamw(plain if forwards else wrapped).state_dict()
    other = adamw((wrapped if forwards else plain)[::-1])
    other.load_state_dict(saved)
    assert sorted(averages(other).values()) == [0.1, 0.2]
    assert averages(other)[(wrapped if forwards else plain)[0]] == 0.1


def test_rename_is_a_function_or_a_mapping() -> None:
    saved = adamw(["old.a", "b"]).state_dict()
    for rename in ({"old.a": "a"}, lambda name: name.removeprefix("old.")):
        other = adamw(["b", "a"])
        other.load_state_dict(saved, rename=rename)
        assert averages(other) == {"a": 0.1, "b": 0.2}
    with pytest.raises(CheckpointMismatch, match=r"lacks a and has old\.a besides: rename=\.\.\. tells what names"):
        adamw(["b", "a"]).load_state_dict(saved)


def test_strict_false_takes_what_both_have() -> None:
    saved = adamw(["a", "b"]).state_dict()
    other = adamw(["b", "c"])
    assert averages(other) == {"b": 0.1, "c": 0.2}
    result = other.load_state_dict(saved, strict=False)
    assert result == (["c"], ["a"])
    assert averages(other) == {"b": 0.2, "c": 0.2}  # b's moment is the saved one, c's its own


def test_names_that_several_have_go_by_their_group() -> None:
    def pair() -> tuple[nn.Module, nn.Module]:
        torch.manual_seed(0)
        return nn.Linear(3, 2), nn.Linear(3, 2)

    def make(a: nn.Module, b: nn.Module, *, mixed: bool = False) -> Any:
        both = [list(a.named_parameters()), list(b.named_parameters())]
        if mixed:
            both = [both[1][1:], [*both[0], both[1][0]]]
        return optim_core.get("adamw")([{"params": pairs, "lr": 0.01 * k} for k, pairs in enumerate(both, 1)])

    def step(optimizer: Any, a: nn.Module, b: nn.Module) -> None:
        optimizer.minimize(lambda: a(torch.ones(4, 3)).square().sum() + (b(torch.ones(4, 3)) - 3).square().sum())

    a, b = pair()
    optimizer = make(a, b)
    step(optimizer, a, b)
    c, d = copy.deepcopy((a, b))
    other = make(c, d)
    other.load_state_dict(reloaded(optimizer.state_dict()))
    step(optimizer, a, b)
    step(other, c, d)
    assert [group["lr"] for group in other.param_groups] == [0.01, 0.02]
    assert equal([*a.parameters(), *b.parameters()], [*c.parameters(), *d.parameters()])
    refuses(make(*pair(), mixed=True), optimizer.state_dict(), "names several parameters.*a name of its own")


# options -------------------------------------------------------------------------------------------------------
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))


def groups(optimizer: Any) -> list[tuple[float, float, Any]]:
    return [(group["lr"], group["weight_decay"], group.get("why")) for group in optimizer.param_groups]


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("name", ["adamw", "torch:adamw"])
def test_with_other_groups_options_are_the_new_optimizer_s(name: str, wrap: bool) -> None:
    net = model()
    make = functools.partial(optim_core.create_optimizer, net, name, wrappers=["lookahead"] if wrap else [])
    old = make(weight_decay=0.1, no_decay=None, lr=0.5)
    optim_core.minimize(old, lambda: net(torch.ones(4, 3)).square().sum())
    new = make(weight_decay=0.1, lr=0.25)
    if not hasattr(new, "load_state_dict") or (name.startswith("torch") and not wrap):
        pytest.skip("torch's own loads as it does")
    before = groups(new)
    new.load_state_dict(reloaded(old.state_dict()))
    assert groups(new) == before
    assert all(new.state[p]["step"] == 1 for p in params_of(new))
    if wrap:
        assert all(group["Lookahead_steps"] == 1 for group in new.param_groups)
    same = make(weight_decay=0.3, no_decay=None, lr=0.75)
    same.load_state_dict(reloaded(old.state_dict()))
    assert [g[:2] for g in groups(same)] == [(0.5, 0.1)]
    same = make(weight_decay=0.3, no_decay=None, lr=0.75)
    same.load_state_dict(reloaded(old.state_dict()), options="own")
    assert [g[:2] for g in groups(same)] == [(0.75, 0.3)]
    new.load_state_dict(reloaded(old.state_dict()), options="saved")
    assert [g[:2] for g in groups(new)] == [(0.5, 0.1)] * 2
    assert [g[2] for g in groups(new)] == [g[2] for g in before]


def test_saved_groups_that_differ_cannot_become_one() -> None:
    net = model()
    old = optim_core.create_optimizer(net, "adamw", weight_decay=0.1)
    new = optim_core.create_optimizer(net, "adamw", weight_decay=0.2, no_decay=None)
    with pytest.raises(CheckpointMismatch, match=r"weight_decay differs among saved groups .* options='own'"):
        new.load_state_dict(old.state_dict(), options="saved")
    new.load_state_dict(old.state_dict())
    assert new.param_groups[0]["weight_decay"] == 0.2


# others --------------------------------------------------------------------------------------------------------
def test_what_a_hook_changes_is_what_is_loaded() -> None:
    def doubled(optimizer: Any, state: dict[str, Any]) -> dict[str, Any]:
        entries = {k: {**entry, "exp_avg": 2 * entry["exp_avg"]} for k, entry in state["state"].items()}
        return {**state, "state": entries}

    saved = adamw(["a", "b"]).state_dict()
    other = adamw(["a", "b"])
    calls: list[Any] = []
    other.register_load_state_dict_pre_hook(doubled)
    other.register_load_state_dict_post_hook(calls.append)
    other.load_state_dict(saved)
    assert averages(other) == {"a": 0.2, "b": 0.4}
    assert calls == [other]


def test_another_library_s_state_keeps_its_count_or_is_refused() -> None:
    theirs = adamw(["a", "b"]).state_dict()
    del theirs["param_groups"][0]["layers"]
    for entry in theirs["state"].values():
        del entry["step"]
    theirs["param_groups"][0]["step"] = 50
    other = adamw(["a", "b"])
    other.load_state_dict(copy.deepcopy(theirs))
    assert [entry["step"] for entry in other.state.values()] == [50, 50]
    theirs["param_groups"][0]["weight_decouple"] = True
    refuses(other, theirs, "another library's, whose options weight_decouple are unknown .* options='own'")
    other = adamw(["a", "b"], lr=0.5)
    other.load_state_dict(theirs, options="own")
    assert [entry["step"] for entry in other.state.values()] == [50, 50]
    assert other.param_groups[0]["lr"] == 0.5
    assert "weight_decouple" not in other.param_groups[0]


def test_a_state_of_a_newer_version_is_refused() -> None:
    saved = adamw(["a"]).state_dict()
    saved["param_groups"][0]["layers"] = [("AdamW", 2)]
    refuses(adamw(["a"]), saved, "saved by version 2 of AdamW, this is version 1: upgrade")


def test_values_that_are_not_finite_come_back_as_they_were() -> None:
    saved = adamw(["a"]).state_dict()
    saved["state"][0]["exp_avg"] = torch.tensor([torch.nan, torch.inf])
    other = adamw(["a"])
    other.load_state_dict(saved)
    assert str(other.state[params_of(other)[0]]["exp_avg"].tolist()) == "[nan, inf]"


#: torch's classes that have a namesake here.
NAMESAKES = sorted(
    {spec.name for spec in optimizers()}
    & {name.lower() for name, cls in vars(torch.optim).items() if isinstance(cls, type) and name != "Optimizer"}
)


def descend(optimizer: Any) -> None:
    """A step on a loss of real and complex parameters."""

    def closure() -> Tensor:
        terms = [
            (p.abs().square() + torch.view_as_real(p).sum(-1) if p.is_complex() else p.square() + p).sum()
            for p in params_of(optimizer)
        ]
        optimizer.zero_grad()
        loss = torch.stack(terms).sum()
        loss.backward()
        return loss

    optimizer.step(closure)


def begun(cls: Any, dtype: torch.dtype, steps: int, **options: Any) -> Any:
    """An optimizer of a class after some steps."""
    optimizer = cls(parameters(dtype=dtype) if takes_vectors(cls) else parameters((2, 2), dtype=dtype), **options)
    for _ in range(steps):
        descend(optimizer)
    return optimizer


def takes_vectors(cls: Any) -> bool:
    """False for torch's Muon."""
    try:
        cls(parameters())
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("name", NAMESAKES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_torch_and_this_library_take_over_from_each_other(name: str, dtype: torch.dtype) -> None:
    theirs, ours = (optim_core.get(prefix + name) for prefix in ("torch:", ""))
    options = {"lr": 0.01} | ({"momentum": 0.9} if name == "sgd" else {})
    try:
        straight = begun(theirs, dtype, 9, **options)
        own = ours([Parameter(p.detach().clone()) for p in params_of(begun(theirs, dtype, 0, **options))], **options)
    except (RuntimeError, ValueError, OptimCoreError) as refused:
        pytest.skip(str(refused))
    for _ in range(9):
        descend(own)
    optimizer = begun(theirs, dtype, 3, **options)
    saved = reloaded(optimizer.state_dict())
    names = {name for entry in saved["state"].values() for name, x in entry.items() if x is not None}
    if not names <= {"step", *own.method.states}:
        refuses(own, saved, r"the checkpoint holds .*, which .* does not keep|another library's, whose options")
        return
    pairs = zip(params_of(straight), params_of(own), strict=True)
    if not all(torch.allclose(p, q, rtol=1e-10, atol=1e-10) for p, q in pairs):
        own.load_state_dict(saved)  # their defaults differ: docs/differences.md
        return
    for cls in (ours, theirs):
        following = cls(params_of(optimizer), **options)
        following.load_state_dict(reloaded(optimizer.state_dict()))
        optimizer = following
        for _ in range(3):
            descend(optimizer)
    assert_close(params_of(optimizer), params_of(straight), 1e-10)
