"""A new pack of each kind, as a stranger has it: its wheel and the core's, installed, and its own tests."""

from __future__ import annotations

import re
import shutil

import pytest
from support import ROOT
from support.built import install, only, python

from optim_core.scaffold.render import PACK_KINDS, new_pack

pytestmark = pytest.mark.needs("hatchling")

PACKS = {**{kind: {"kind": kind} for kind in PACK_KINDS}, "existing": {"from_class": "torch.optim:Adagrad"}}

#: Where only the two wheels, and what they require, can be imported.
INSTALLED = """
import optim_core, {package}
from optim_core.catalog.kinds import KINDS
from optim_core.catalog.registry import registry

def test_the_pack_is_installed_and_found():
    site = {site!r}
    assert optim_core.__file__.startswith(site) and {package}.__file__.startswith(site)
    (pack,) = registry().packs
    (spec,) = pack.specs
    assert (pack.name, pack.distribution, pack.license) == ("{name}", "{distribution}", "MIT"), pack
    assert issubclass(getattr(optim_core, KINDS[spec.kind].getter)("{name}"), getattr({package}, *{package}.__all__))

def test_the_readme_s_example():
    exec({readme!r}, {{}})
"""


@pytest.mark.parametrize("kind", PACKS)
def test_a_new_pack_installs_is_found_and_passes_its_tests(kind, core, tmp_path):
    name = f"acme_{kind}"
    folder, site, elsewhere = new_pack(name, into=tmp_path, **PACKS[kind]), tmp_path / "site", tmp_path / "elsewhere"
    shutil.copytree(core, site)
    install(folder, site)
    package = f"{name}_optim"
    (readme,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    shutil.copytree(folder / "tests", elsewhere / "tests")
    shutil.copy(folder / "pyproject.toml", elsewhere)
    elsewhere.joinpath("test_installed.py").write_text(
        INSTALLED.format(package=package, name=name, distribution=folder.name, site=str(site), readme=readme),
        encoding="utf-8",
    )
    options = ("-q", "-W", "error", "-p", "no:cacheprovider")
    told = python("-m", "pytest", *options, ".", str(site / package), at=elsewhere, **only(name, site))
    passed = re.search(r"(\d+) passed", told)
    examples = kind != "existing"
    assert passed, told
    assert int(passed[1]) > 2 + examples, told


def test_the_core_s_wheel_has_every_template(core):
    tree, wheel = (root / "optim_core" / "scaffold" / "templates" for root in (ROOT, core))
    assert {path.relative_to(tree) for path in tree.rglob("*")} == {
        path.relative_to(wheel) for path in wheel.rglob("*")
    }
