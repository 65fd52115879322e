"""docs/writing-a-pack.md, docs/hooks.md and docs/releasing.md: what stands there works."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import shutil
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner
from support import PACKS, ROOT
from support.built import install, only, python

from optim_core.catalog import hookspecs
from optim_core.catalog.discovery import specs_of_manifest
from optim_core.cli.app import app

#: Tools that `nox -s new_pack` runs when it follows the page, and the tests' own environment does not have.
OUTSIDE = {"python -m pip", "cd acme-optim", "python -m build", "python -m twine", "ruff check", "ruff format"}


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def follow() -> Any:
    """The module that takes a page apart."""
    spec = importlib.util.spec_from_file_location("follow", ROOT / "docs" / "follow.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.needs("hatchling")
def test_whoever_follows_the_page_has_a_pack_that_passes(follow, core, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, site, elsewhere = tmp_path / "acme-optim", tmp_path / "site", tmp_path / "elsewhere"
    blocks = follow.blocks(page("writing-a-pack.md"))
    commands = [line for block in blocks if block.language == "sh" for line in block.text.splitlines()]
    (render,) = [line for line in commands if line.startswith("optim-core new-pack")]
    done = CliRunner().invoke(app, shlex.split(render)[1:], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    files = {block.file: block.text for block in blocks if block.file}
    assert sorted(files) == [
        "acme_optim/acme.py",
        "acme_optim/pack.py",
        "tests/test_acme_optim.py",
        "tests/test_reference.py",
    ]
    assert (folder / "tests" / "test_acme_optim.py").read_text(encoding="utf-8") == files["tests/test_acme_optim.py"]
    for file, text in files.items():
        (folder / file).write_text(text, encoding="utf-8")
    shutil.copytree(core, site)
    install(folder, site)
    shutil.copytree(folder / "tests", elsewhere / "tests")
    shutil.copy(folder / "pyproject.toml", elsewhere)
    told = python("-m", "pytest", "-q", "tests", str(site / "acme_optim"), at=elsewhere, **only("acme", site))
    assert re.search(r"\d+ passed", told), told
    for line in commands:
        if line.startswith("optim-core ") and line != render:
            program = "import sys; from optim_core.cli import main; sys.argv[0] = 'optim-core'; main()"
            python("-c", program, *shlex.split(line)[1:], at=elsewhere, **only("acme", site))
        elif line not in (render, "python -m pytest"):
            assert any(line.startswith(words) for words in OUTSIDE), line


def test_the_page_s_files_are_those_of_a_new_pack(follow):
    text = page("writing-a-pack.md")
    table = re.findall(r"^\| `([\w/.]+)` \|", text, re.MULTILINE)
    assert {"pyproject.toml", "acme_optim/pack.py", "acme_optim/acme.py", "tests/test_acme_optim.py"} <= {*table}
    assert "END OF FILE" not in text
    written = follow.script(text)
    assert written.count("END OF FILE") == 8
    assert written.index("new-pack acme") < written.index("class Acme") < written.index("twine check")


def test_the_manifest_of_the_page_on_hooks_is_one(follow):
    blocks = [block.text for block in follow.blocks(page("hooks.md")) if block.language == "python"]
    (manifest,) = [text for text in blocks if "OPTIM_CORE_API" in text]
    module = ModuleType("manifest")
    exec(manifest, vars(module))  # noqa: S102 - our own page
    (spec,) = specs_of_manifest(module, "acme")
    assert spec.name == "acme"
    assert vars(module)["OPTIM_CORE_API"] == hookspecs.API_VERSION


def test_the_page_on_hooks_has_every_hook_with_its_version():
    text = page("hooks.md")
    for node in ast.parse((ROOT / "optim_core" / "catalog" / "hookspecs.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.decorator_list:
            section = text.partition(f"### `{node.name}(")[2].partition("\n### ")[0]
            assert re.search(r"Since version \d", section), node.name


def test_a_release_has_every_distribution():
    text = page("releasing.md")
    listed = re.findall(r"^ {10}- (optim-core[\w-]*)$", text, re.MULTILINE)
    assert listed == [
        "optim-core",
        *sorted(f"optim-core-{p.parent.name}".replace("_", "-") for p in PACKS.glob("*/pyproject.toml")),
    ]
