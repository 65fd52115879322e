"""A new pack of each kind, as a stranger has it: its wheel and the core's, installed, and its own tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from support import ROOT

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
    assert getattr(optim_core, KINDS[spec.kind].getter)("{name}") is getattr({package}, *{package}.__all__)

def test_the_readme_s_example():
    exec({readme!r}, {{}})
"""


def python(*arguments: str, at: Path, **environment: str) -> str:
    """Run Python in a folder; returns what it writes."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=at,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def install(source: Path, site: Path) -> None:
    """Build a wheel and unpack it, which is all that installing it would do but for its scripts."""
    built = site.with_name(f"{source.name}-wheel")
    python("-m", "hatchling", "build", "-t", "wheel", "-d", str(built), at=source)
    (wheel,) = built.iterdir()
    with ZipFile(wheel) as archive:
        archive.extractall(site)


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The core, installed from a wheel."""
    work = tmp_path_factory.mktemp("core")
    source = work / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "optim_core", source / "optim_core", ignore=shutil.ignore_patterns("__pycache__"))
    install(source, work / "site")
    return work / "site"


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
    # the first-party packs, which this very environment has, are switched off
    environment = {"PYTHONPATH": str(site), "OPTIM_CORE_PACKS": name, "OMP_NUM_THREADS": "1"}
    options = ("-q", "-W", "error", "-p", "no:cacheprovider")
    told = python("-m", "pytest", *options, ".", str(site / package), at=elsewhere, **environment)
    passed = re.search(r"(\d+) passed", told)
    examples = kind != "existing"
    assert passed, told
    assert int(passed[1]) > 2 + examples, told
