"""What holds for every pack of ours that is installed: `nox -s packs` installs one at a time. The rest is the kit's."""

from __future__ import annotations

import inspect
import re
import warnings

import pytest
from support import PACKS

import optim_core
from optim_core.catalog.registry import load_class, registry

# Packs of others may be installed too; they have tests of their own.
INSTALLED = [pack for pack in registry().packs if (PACKS / pack.name).is_dir()]


@pytest.fixture(autouse=True)
def _non_commercial_is_known():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optim_core.NonCommercialWarning)
        yield


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
