"""What holds for every pack that is installed, whichever they are: `nox -s packs` installs one at a time."""

from __future__ import annotations

import inspect
import re
import warnings

import pytest
import torch
from support import PACKS
from support.small import copies
from support.wrappers import around, needs_only_a_base, torch_base

import optim_core
from optim_core import schedules
from optim_core.catalog.registry import load_class, registry

# Packs of others may be installed too; they have tests of their own.
INSTALLED = [pack for pack in registry().packs if (PACKS / pack.name).is_dir()]
#: Steps after which also a method that finds its own step size has found it: the first guess may be far too long.
LONG = 100


def of_kind(kind: str) -> list[str]:
    return [f"{pack.name}:{spec.name}" for pack in INSTALLED for spec in pack.specs if spec.kind == kind]


@pytest.fixture(autouse=True)
def _non_commercial_is_known():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optim_core.NonCommercialWarning)
        yield


@pytest.fixture
def problem():
    torch.manual_seed(0)
    model, x = torch.nn.Linear(4, 2), torch.randn(16, 4)
    return model, lambda: (model(x) - x[:, :2]).square().mean()


def test_a_pack_is_installed_and_none_is_broken():
    assert INSTALLED
    assert not registry().failures


@pytest.mark.parametrize("pack", INSTALLED, ids=lambda pack: pack.name)
def test_the_package_offers_the_classes_of_its_specs(pack):
    package = __import__(f"optim_core_{pack.name}")
    assert sorted(package.__all__) == sorted(spec.class_name for spec in pack.specs)
    for spec in pack.specs:
        assert getattr(package, spec.class_name) is load_class(spec)
        assert inspect.getdoc(load_class(spec))


@pytest.mark.parametrize("pack", INSTALLED, ids=lambda pack: pack.name)
def test_the_readme_s_example_runs(pack):
    text = (PACKS / pack.name / "README.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert examples
    for example in examples:
        exec(compile(example, f"packs/{pack.name}/README.md", "exec"), {})  # noqa: S102 - our own README


@pytest.mark.parametrize("name", of_kind("optimizer"))
def test_an_optimizer_learns_with_its_defaults(name, problem):
    model, closure = problem
    optimizer = optim_core.get(name)(model.parameters())
    before = copies(model.parameters())
    losses = [optimizer.minimize(closure).item() for _ in range(LONG)]
    assert losses[-1] < losses[0]
    assert any(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize(
    "name", [name for name in of_kind("wrapper") if needs_only_a_base(optim_core.get_wrapper(name))]
)
def test_a_wrapper_learns_and_shares_its_base_s_groups(name, problem):
    model, closure = problem
    base = torch_base(name)(model.named_parameters(), lr=0.05)
    optimizer = around(base, name)
    several = "multi_loss" in optim_core.info(name).needs
    start = closure().item()
    for _ in range(20):
        optimizer.minimize((lambda: [closure(), 2 * closure()]) if several else closure)
    assert closure().item() < start
    assert optimizer.param_groups is base.param_groups


@pytest.mark.parametrize("name", of_kind("scheduler"))
def test_a_scheduler_sets_positive_rates(name, problem):
    model, closure = problem
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    spec = optim_core.info(name)
    optimizer.param_groups[0].setdefault(spec.sets, 0.1)
    scheduler = schedules.example(spec, optimizer)
    for _ in range(9):
        schedules.advance(spec, scheduler, optim_core.minimize(optimizer, closure).item())
        assert all(rate > 0 for rate in scheduler.get_last_lr())
