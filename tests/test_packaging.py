"""The distributions: what their metadata say of one another, and of what is in the tree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from support import PACKS, ROOT

#: Of the packs.
NAMES = sorted(path.parent.name for path in PACKS.glob("*/pyproject.toml"))
NON_COMMERCIAL = "CC-BY-NC-SA-4.0"


def read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def core() -> dict[str, Any]:
    return read(ROOT / "pyproject.toml")


@pytest.fixture
def extras(core: dict[str, Any]) -> dict[str, list[str]]:
    return core["project"]["optional-dependencies"]


@pytest.fixture(scope="module")
def packs() -> dict[str, dict[str, Any]]:
    return {name: read(PACKS / name / "pyproject.toml")["project"] for name in NAMES}


def extra(pack: str) -> str:
    return pack.replace("_", "-")


def requirement(pack: str) -> str:
    return f"optim-core-{extra(pack)}>=0.1,<0.2"


def test_the_core_depends_on_three_things(core):
    names = {re.split(r"[<>=~! \[]", text)[0] for text in core["project"]["dependencies"]}
    assert names == {"torch", "pluggy", "importlib-metadata"}


def test_each_pack_has_its_extra_and_no_extra_lacks_its_pack(extras):
    assert {name: extras.get(name) for name in map(extra, NAMES)} == {
        extra(pack): [requirement(pack)] for pack in NAMES
    }
    assert set(extras) - set(map(extra, NAMES)) == {"all", "cli", "compare", "licenses", "scaffold"}


def test_all_is_every_pack_whose_licence_is_permissive_and_nothing_else(extras, packs):
    assert extras["all"] == [requirement(pack) for pack in NAMES if packs[pack]["license"] != NON_COMMERCIAL]
    assert requirement("noncommercial") not in extras["all"]


def test_the_import_layers_know_every_pack(core):
    linter = core["tool"]["importlinter"]
    modules = [f"optim_core_{pack}" for pack in NAMES]
    contracts = {contract["name"]: contract for contract in linter["contracts"]}
    assert linter["root_packages"] == ["optim_core", *modules]
    assert contracts["The core imports no pack"]["forbidden_modules"] == modules
    assert contracts["No pack imports another"]["modules"] == modules


@pytest.mark.parametrize("pack", NAMES)
def test_a_pack_is_a_distribution_of_its_own(pack, packs):
    project, folder = packs[pack], PACKS / pack
    assert project["name"] == f"optim-core-{extra(pack)}"
    assert project["entry-points"] == {"optim_core.packs": {pack: f"optim_core_{pack}.pack"}}
    # methods that are composed of one of the pack and wrappers
    parts = ["optim-core-wrappers>=0.1,<0.2"] if list((folder / f"optim_core_{pack}").rglob("compositions.py")) else []
    assert project["dependencies"] == ["optim-core>=0.1,<0.2", *parts]
    assert project["license"] == (NON_COMMERCIAL if pack == "noncommercial" else "Apache-2.0")
    assert (folder / f"optim_core_{pack}" / "py.typed").is_file()
    title = "Attribution-NonCommercial-ShareAlike 4.0" if pack == "noncommercial" else "Apache License"
    assert title in (folder / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.parametrize("session", ["demo", "tests"])
def test_the_readme_has_the_command(session):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    line = (
        "python3 -m venv .venv && .venv/bin/python -m pip install --upgrade pip nox"
        f" && .venv/bin/python -m nox -s {session}"
    )
    assert line in text.splitlines()


def test_the_readme_installs_from_a_checkout_what_all_brings(extras):
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    line = re.search(r'^python3 -m pip install "\.\[cli\]" (.+)$', text, re.MULTILINE)
    assert line
    assert [requirement(folder.removeprefix("packs/")) for folder in line[1].split()] == extras["all"]
