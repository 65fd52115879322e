"""Hooks beside those of methods, each with a distribution that is installed: tasks, groups, transforms, columns."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from support.fake_packs import Site, error_text, spec
from torch import nn

import optim_core
from optim_core import errors
from optim_core.catalog import hookspecs
from optim_core.cli.app import app

MANIFEST = """
from optim_core.catalog import *

HERE = "fake_acme_optim.things:"

@hookimpl
def optim_core_tasks():
    return [TaskSpec(name=n, target=HERE + n, summary="Fit a line.") for n in ("line", "odd")]

@hookimpl
def optim_core_groups():
    names = ("halves", "forgets", "twice", "endless", "strange", "rubbish", "raises")
    return [GroupsSpec(name=n, target=HERE + n, summary="Half the lr for biases.") for n in names]

@hookimpl
def optim_core_columns():
    return [ColumnSpec(name=n, target=HERE + n, summary="Mean of the last losses.") for n in ("final_loss", "exits")]

@hookimpl
def optim_core_transforms():
    return [TransformSpec(name=n.lower(), target=HERE + n, summary="Scales.", license="MIT") for n in
            ("Scaled", "Signed", "Number")]
"""
THINGS = '''
from dataclasses import dataclass
import itertools
import torch
from optim_core.compare import Task
from optim_core.rules import Transform, sign

def line(device="cpu"):
    x = torch.linspace(-1, 1, 64, device=device)[:, None]
    loss = lambda model, batch: torch.nn.functional.mse_loss(model(batch), 2 * batch + 1)
    return Task(name="line", model=lambda: torch.nn.Linear(1, 1), batches=lambda seed, epoch: x.split(16), loss=loss,
                evaluate=lambda model: loss(model, x).item(), goal="min", epochs=1)

def odd():
    return 5

def halves(model, *, lr, weight_decay, by=0.5):
    biases = [(n, p) for n, p in model.named_parameters() if n.endswith("bias")]
    others = [(n, p) for n, p in model.named_parameters() if not n.endswith("bias")]
    return [{"params": others}, {"params": biases, "lr": by * lr, "why": "a bias"}]

def forgets(model, **_):
    return [{"params": list(model.named_parameters())[1:]}]

def twice(model, **_):
    return [{"params": list(model.named_parameters())}] * 2

def endless(model, **_):
    return ({"params": []} for _ in itertools.count())

def strange(model, **_):
    return [{"params": [("x", torch.nn.Parameter(torch.ones(1)))]}]

def rubbish(model, **_):
    return [5]

def raises(model, **_):
    raise KeyError("oh")

def final_loss(runs):
    return f"{sum(run['losses'][-1][1] for run in runs) / len(runs):.1e}"

def exits(runs):
    raise SystemExit(3)

@dataclass(frozen=True)
class Scaled(Transform):
    """Scales the gradient."""
    by: float = 2.0
    def gradient(self, g, p):
        return self.by * g

@dataclass(frozen=True)
class Signed(Transform):
    def update(self, u, g, p):
        return sign(u)

Number = 5
'''


@pytest.fixture
def acme(site: Site) -> Site:
    site.install("acme", manifest=MANIFEST, modules={"things": THINGS})
    return site


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))


def test_every_hook_says_since_when_and_new_ones_show_how():
    hooks = {name: f for name, f in vars(hookspecs).items() if name.startswith("optim_core_")}
    assert len(hooks) == 7
    for name, function in hooks.items():
        assert "Since version 1." in (inspect.getdoc(function) or "")
        if name not in ("optim_core_optimizers", "optim_core_schedulers", "optim_core_wrappers"):
            assert "Example::" in (inspect.getdoc(function) or "")


# tasks and columns ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["line", "acme:line", "LINE"])
def test_a_task_and_columns_of_a_pack(acme, tmp_path, name):
    out = tmp_path / "out"
    arguments = ["compare", "torch:sgd,lr=0.1", "--seeds", "1", "--task", name, "--out", str(out)]
    done = CliRunner().invoke(app, [*arguments, "--column", "final_loss", "--column", "acme:exits"])
    assert done.exit_code == 0, done.output
    assert json.loads((out / "results.json").read_text())["task"]["name"] == "line"
    for page in (done.output, (out / "report.html").read_text()):
        text = " ".join(page.split())
        assert "final loss" in text or "final" in text
        assert "e-0" in text or "e+0" in text
        assert "SystemExit: 3" in text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--task", "lime"], "of packs: acme:line, acme:odd. Did you mean 'line'?"),
        (["--task", "acme:odd"], "odd() returned int, not optim_core.compare.Task"),
        (["--task", "line", "--column", "final"], "no column 'final' in any pack."),
    ],
)
def test_tasks_and_columns_that_are_not_there(acme, tmp_path, arguments, told):
    done = CliRunner().invoke(app, ["compare", "torch:sgd", "--out", str(tmp_path / "out"), *arguments])
    assert done.exit_code == 1
    assert told in " ".join(done.output.split())


# groups ---------------------------------------------------------------------------------------------------------
def test_a_rule_of_a_pack_makes_groups(acme):
    for choice, lr in (("halves", 0.05), ("acme:Halves", 0.05), (("halves", {"by": 0.1}), 0.01)):
        optimizer = optim_core.create_optimizer(net(), "torch:adamw", lr=0.1, groups=choice)
        assert sorted(g["lr"] for g in optimizer.param_groups) == pytest.approx([lr, 0.1])
        assert [row.lr for row in optim_core.explain(optimizer) if "bias" in row.name] == pytest.approx([lr, lr])
    optimizer = optim_core.create_optimizer(net(), "torch:adamw", groups="halves", no_decay=None)
    assert [g["lr"] for g in optimizer.param_groups] == [1e-3, 5e-4]


@pytest.mark.parametrize(
    ("choice", "error", "told"),
    [
        ("forgets", errors.InvalidOption, "groups='forgets': 0.weight was left out"),
        ("twice", errors.InvalidOption, "0.weight was put into groups 2 times"),
        ("endless", errors.InvalidOption, "0.weight was left out"),
        ("strange", errors.InvalidOption, "which is no trainable parameter of the model"),
        ("rubbish", errors.InvalidOption, "returned 5: a group is a dict"),
        ("raises", errors.InvalidOption, "groups='raises' failed: KeyError: 'oh'"),
        (("halves", {"bye": 1}), errors.InvalidOption, "It takes the options by"),
        (5, errors.InvalidOption, "groups=5 is neither a name"),
        ("halfes", errors.UnknownName, "no group rule 'halfes' in any pack. Did you mean 'halves'?"),
        (
            "mop",
            errors.UnknownName,
            "The core's own: no_decay, layerwise_decay, layer_decay, lora_plus, mup. Did you mean 'mup'?",
        ),
    ],
)
def test_rules_that_go_wrong(acme, choice, error, told):
    assert told in error_text(error, optim_core.create_optimizer, net(), "torch:sgd", groups=choice)


def test_groups_need_the_model(acme):
    text = error_text(errors.InvalidOption, optim_core.create_optimizer, net().parameters(), "torch:sgd", groups="mup")
    assert "give create_optimizer the model" in text


def in_groups(optimizer: torch.optim.Optimizer, key: str) -> dict[str, Any]:
    return {name: g[key] for g in optimizer.param_groups for name in g["param_names"]}


def test_no_decay_by_dimensions(site):
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "n": nn.LayerNorm(2), "e": nn.Embedding(3, 2)})
    model.no_weight_decay = lambda: {"e.weight"}
    optimizer = optim_core.create_optimizer(model, "torch:adamw", weight_decay=0.1, groups="no_decay", no_decay=None)
    decays = in_groups(optimizer, "weight_decay")
    assert decays == {"a.weight": 0.1, "a.bias": 0.0, "n.weight": 0.0, "n.bias": 0.0, "e.weight": 0.0}


class Transformer(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, width)
        self.layers = nn.ModuleList([nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width)) for _ in range(2)])
        self.head = nn.Linear(width, 3)


def test_layerwise_decay(site):
    rule = ("layerwise_decay", {"decay": 0.5})
    lrs = in_groups(optim_core.create_optimizer(Transformer(), "torch:adamw", lr=0.8, groups=rule), "lr")
    assert lrs["embed.weight"] == pytest.approx(0.1)
    assert lrs["layers.0.0.weight"] == lrs["layers.0.1.bias"] == pytest.approx(0.2)
    assert lrs["layers.1.0.weight"] == pytest.approx(0.4)
    assert lrs["head.weight"] == lrs["head.bias"] == 0.8
    decays = in_groups(optim_core.create_optimizer(Transformer(), "torch:adamw", groups=rule), "weight_decay")
    assert decays["layers.0.0.weight"] == 0.01
    assert decays["layers.0.1.weight"] == decays["head.bias"] == 0.0
    flat = in_groups(optim_core.create_optimizer(net(), "torch:sgd", lr=1.0, groups=rule), "lr")
    assert flat == {"0.weight": 0.5, "0.bias": 0.5, "1.weight": 1.0, "1.bias": 1.0}
    for wrong, told in (({"decay": 0}, "above 0 and at most 1"), ({"decay": 2}, "above 0 and at most 1")):
        text = error_text(errors.InvalidOption, optim_core.create_optimizer, net(), "torch:sgd",
                          groups=("layerwise_decay", wrong))  # fmt: skip
        assert told in text
    text = error_text(errors.InvalidOption, optim_core.create_optimizer, nn.Linear(2, 1), "torch:sgd",
                      groups="layerwise_decay")  # fmt: skip
    assert "finds no layers" in text


def test_mup(site):
    rule = ("mup", {"base": Transformer(2)})
    lrs = in_groups(optim_core.create_optimizer(Transformer(8), "torch:adamw", lr=0.8, groups=rule), "lr")
    assert lrs["embed.weight"] == lrs["head.bias"] == lrs["layers.0.1.weight"] == 0.8
    assert lrs["layers.0.0.weight"] == lrs["head.weight"] == pytest.approx(0.2)
    text = error_text(errors.InvalidOption, optim_core.create_optimizer, net(), "torch:sgd", groups=rule)
    assert "the narrow model has no 0.weight" in text
    text = error_text(errors.InvalidOption, optim_core.create_optimizer, net(), "torch:sgd", groups="mup")
    assert "groups=('mup', {'base': narrow})" in text


# transforms -----------------------------------------------------------------------------------------------------
def test_a_transform_goes_wherever_a_wrapper_goes(acme):
    w = nn.Parameter(torch.tensor([1.0, -1.0]))
    model = nn.Module()
    model.w = w
    optimizer: Any = optim_core.create_optimizer(model, "torch:sgd", lr=0.1, wrappers=[("scaled", {"by": 3.0})])
    optim_core.minimize(optimizer, lambda: w.square().sum())
    assert w.tolist() == pytest.approx([0.4, -0.4])
    assert "Scaled(by=3.0)" in str(optim_core.explain(optimizer))
    both = optim_core.create_optimizer(model, "torch:sgd", lr=0.1, wrappers=["scaled", "acme:signed"])
    optim_core.minimize(both, lambda: w.square().sum())
    assert w.tolist() == pytest.approx([-0.6, 0.6])
    assert optim_core.info("scaled").kind == "wrapper"
    text = error_text(errors.UnknownOption, optim_core.get_wrapper("scaled"), torch.optim.SGD([w]), bye=1.0)
    assert "Scaled has no option 'bye'. Did you mean 'by'?" in text


def test_wrappers_of_transforms_are_copied_and_pickled(acme):
    w = nn.Parameter(torch.ones(2))
    optimizer = optim_core.get_wrapper("scaled")(torch.optim.SGD([w], lr=0.1), by=3.0)
    for twin in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):  # noqa: S301 - our own
        assert type(twin) is type(optimizer)
        (p,) = twin.param_groups[0]["params"]
        optim_core.minimize(twin, p.sum)
        assert p.tolist() == pytest.approx([0.7, 0.7])


def test_what_is_no_transform(acme):
    text = error_text(errors.SpecError, optim_core.get_wrapper, "number")
    assert "5 is not a frozen dataclass derived from optim_core.rules.Transform" in text


# manifests ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("hook", ["tasks", "groups", "columns", "transforms"])
@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return 5", "returned 5, not a list of"),
        ("pass", "returned None, not a list of"),
        ("return ['x']", "returned str 'x', not"),
        ("raise SystemExit(1)", "hooks: SystemExit: 1"),
        ("while True: yield 5", "returned int 5, not"),
    ],
)
def test_hostile_hooks(site, hook, body, told):
    site.install("good", spec("lion"))
    site.install("bad", manifest=f"from optim_core.catalog import *\n@hookimpl\ndef optim_core_{hook}():\n    {body}")
    with pytest.warns(errors.PackWarning) as warned:
        assert optim_core.get("lion")
    assert told in str(warned[0].message)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"name": "A"}, "a name is lower-case letters"),
        ({"target": "x"}, "target='x' should be 'module:function'"),
        ({"summary": "a\nb"}, "should be one line of text"),
        ({"name": 5}, "name=5 should be one line of text"),
    ],
)
def test_additions_of_another_form(fields, told):
    from optim_core.catalog import ColumnSpec, GroupsSpec, TaskSpec

    for cls in (TaskSpec, GroupsSpec, ColumnSpec):
        assert told in error_text(errors.SpecError, cls, **{"name": "a", "target": "b:c", "summary": "S.", **fields})


def test_two_packs_with_one_name_and_a_dead_target(acme):
    halves = "GroupsSpec(name='halves', target='nowhere:f', summary='S.')"
    manifest = f"from optim_core.catalog import *\n@hookimpl\ndef optim_core_groups():\n    return [{halves}]"
    acme.install("other", manifest=manifest)
    acme.registry()
    text = error_text(errors.AmbiguousName, optim_core.create_optimizer, net(), "torch:sgd", groups="halves")
    assert "Ask for 'acme:halves' or 'other:halves'" in text
    text = error_text(errors.PackBroken, optim_core.create_optimizer, net(), "torch:sgd", groups="other:halves")
    assert "the group rule 'other:halves' cannot be loaded from nowhere:f" in text
    done = CliRunner().invoke(app, ["doctor", "--pack", "other"])
    assert done.exit_code == 1
    assert "'other:halves' of pack 'other' (other-optim 1.0) is dead: there is no module nowhere" in done.output
