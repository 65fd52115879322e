"""`optim-core new-pack`: what it writes, and what it refuses before it writes anything."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support import ROOT
from support.fake_packs import Site, error_text, spec

from optim_core import errors
from optim_core.catalog import spdx
from optim_core.catalog.known import KNOWN
from optim_core.catalog.specs import OptimizerSpec, SchedulerSpec, WrapperSpec
from optim_core.cli.app import app
from optim_core.scaffold import licensing, naming
from optim_core.scaffold.errors import PackageMissing, ScaffoldError
from optim_core.scaffold.existing import inspected
from optim_core.scaffold.render import PACK_KINDS, new_pack

SPECS = {"optimizer": OptimizerSpec, "plain": OptimizerSpec, "wrapper": WrapperSpec, "scheduler": SchedulerSpec}


@pytest.fixture(autouse=True)
def _nothing_installed(site: Site) -> None:
    """Names are free but for those of the first-party packs."""


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def refusal(into: Path, name: str = "acme", **options: Any) -> str:
    """What is said of a pack that cannot be; nothing is written."""
    before = sorted(into.rglob("*")) if into.is_dir() else []
    told = error_text(ScaffoldError, new_pack, name, into=into, **options)
    assert (sorted(into.rglob("*")) if into.is_dir() else []) == before
    assert told.isprintable()
    return told


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["new-pack", *arguments], catch_exceptions=False)


# what is written ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", PACK_KINDS)
def test_the_files(into, kind):
    folder = new_pack("fast_lion", kind=kind, into=into)
    assert folder == into / "fast-lion-optim"
    assert [path.name for path in into.iterdir()] == [folder.name]
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        ".github/workflows/ci.yml",
        ".github/workflows/publish.yml",
        ".gitignore",
        "LICENSE",
        "README.md",
        "fast_lion_optim/__init__.py",
        "fast_lion_optim/fast_lion.py",
        "fast_lion_optim/pack.py",
        "fast_lion_optim/py.typed",
        "pyproject.toml",
        "tests/test_fast_lion_optim.py",
    ]
    for path in folder.rglob("*"):
        assert not path.is_file() or not re.search(r"\{\{ (?!matrix)|\{%", path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize("kind", PACK_KINDS)
def test_the_manifest_has_every_field_of_its_spec(into, kind):
    text = (new_pack("acme", kind=kind, into=into) / "acme_optim" / "pack.py").read_text(encoding="utf-8")
    (call,) = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == SPECS[kind].__name__
    ]
    assert {keyword.arg for keyword in call.keywords} == {field.name for field in dataclasses.fields(SPECS[kind])}


def test_the_metadata_fit_the_core(into):
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pack = tomllib.loads((ROOT / "packs" / "schedulers" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    new = tomllib.loads((new_pack("acme", into=into) / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert new["requires-python"] == ours["requires-python"]
    assert new["dependencies"] == pack["dependencies"]
    assert new["entry-points"] == {"optim_core.packs": {"acme": "acme_optim.pack"}}


@pytest.mark.parametrize(
    ("licence", "written", "begin"),
    [
        ("mit", "MIT", "MIT License"),
        ("Apache-2.0", "Apache-2.0", "                                 Apache License"),
        ("BSD-3-Clause", "BSD-3-Clause", "BSD 3-Clause License"),
        ("GPL-3.0+", "GPL-3.0-or-later", "Copyright (c) 20"),
        ("MIT OR Apache-2.0", "MIT OR Apache-2.0", "Copyright (c) 20"),
        ("LicenseRef-Acme", "LicenseRef-Acme", "Copyright (c) 20"),
    ],
)
def test_the_licence_is_one_in_metadata_specs_and_text(into, licence, written, begin):
    folder = new_pack("acme", into=into, licence=licence)
    assert f'license = "{written}"\n' in (folder / "pyproject.toml").read_text(encoding="utf-8")
    assert f'license="{written}",\n' in (folder / "acme_optim" / "pack.py").read_text(encoding="utf-8")
    text = (folder / "LICENSE").read_text(encoding="utf-8")
    assert text.lstrip("\n").startswith(begin)
    assert not re.search(r"<\w+>", text)


def test_the_command_says_what_it_wrote_and_what_to_do(into):
    done = run("acme", "--into", str(into))
    assert done.exit_code == 0, done.output
    folder = into / "acme-optim"
    written = {line.strip() for line in done.output.splitlines()}
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} <= written
    assert f"cd {folder}" in written


# names ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "told", "instead"),
    [
        ("FastLion", "no name of a pack: lower-case letters", "fast_lion"),
        ("fast-lion", "no name of a pack", "fast_lion"),
        ("_lion", "no name of a pack", "fast_lion"),
        ("9lives", "no name of a pack", "lives"),
        ("", "no name of a pack", "fast_lion"),
        ("a\x1b[2K", "no name of a pack", "a_2_k"),
        ("../etc", "no name of a pack", "etc"),
        ("lion" * 8, "has 32 characters, of which a pack's name has 30 at most: shorten it", "lion" * 7),
        ("class", "is a word of Python: choose another name", "class_step"),
        ("none", "is a word of Python", "none_step"),
        ("pack", "is the module of every pack's manifest", "pack_step"),
        ("torch", "is reserved for torch's own classes", "torch_step"),
        ("optim_core_acme", "would pass for a pack of optim-core's own: leave the prefix out, as in 'acme'", "acme"),
        ("optim_core_lion", "would pass for a pack of optim-core's own: leave the prefix out, as in 'acme'", "acme"),
        ("optim_core", "would pass for a pack of optim-core's own", "acme"),
        ("sign", "is the pack of optim-core-sign: choose another name", "my_sign"),
        ("second_order", "is the pack of optim-core-second-order", "third_order"),
        ("lion", "is taken: the optimizer 'lion' of optim-core-sign. Choose another name", "my_lion"),
        ("sophia", "is taken: the optimizer 'sophiah' of optim-core-second-order", "my_sophia"),
        ("cosine", "is taken: the scheduler 'cosine' of optim-core-schedulers", "my_cosine"),
    ],
)
def test_a_name_is_refused_and_the_one_that_is_told_works(into, name, told, instead):
    text = refusal(into, name)
    assert told in text
    assert re.findall(r"(?:such as|as in) '(\w+)'", text) in ([], [instead])
    assert new_pack(instead, into=into).is_dir()


def test_no_first_party_name_is_given_away():
    for name in sorted({*KNOWN, *(name for row in KNOWN.values() for name in (row[0], row[2]))}):
        with pytest.raises(ScaffoldError):
            naming.names_of(name)


@pytest.mark.parametrize("taken", ["acme", "zebra", "z_bra"])
def test_a_name_that_is_installed_is_refused(site, into, taken):
    site.install("acme", spec("zebra", aliases=("z_bra",)))
    site.registry()
    text = refusal(into, taken)
    assert "is taken by the pack 'acme' (acme-optim 1.0), installed here: choose another name" in text
    assert "`pip uninstall acme-optim` first" in text


# places ---------------------------------------------------------------------------------------------------------
def test_a_folder_that_exists_is_left_alone(into):
    (into / "acme-optim").mkdir()
    (into / "acme-optim" / "mine.txt").write_text("mine")
    assert f"{into / 'acme-optim'} exists, and nothing in it is touched" in refusal(into)


def test_a_dangling_link_counts_as_a_folder_that_exists(into):
    (into / "acme-optim").symlink_to(into / "nowhere")
    assert "exists" in refusal(into)


def test_the_place_has_to_exist(into):
    text = refusal(into / "deep" / "er")
    command = re.search(r"mkdir -p (\S+),", text)
    assert command
    os.makedirs(command[1])  # noqa: PTH103 - what the command does
    assert new_pack("acme", into=into / "deep" / "er").is_dir()


def test_the_place_is_no_file(into):
    (into / "file").write_text("")
    assert "is no folder" in refusal(into / "file")


@pytest.mark.parametrize("method", ["rename", "write_text"])
def test_nothing_is_left_of_a_pack_that_cannot_be_written(into, monkeypatch, method):
    def full(*arguments: Any, **keywords: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, method, full)
    text = refusal(into)
    assert text == (
        f"{into / 'acme-optim'} cannot be written (No space left on device): name a folder of yours with --into"
    )


# licences -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("licence", "told"),
    [
        ("", "'' is no SPDX expression: such as 'MIT', 'Apache-2.0' or 'MIT OR Apache-2.0'"),
        ("MIT AND (", "is no SPDX expression"),
        ("free for all", "is not on the SPDX list (https://spdx.org/licenses)."),
        ("Apache-2", "is not on the SPDX list (https://spdx.org/licenses). Did you mean 'Apache-2.0'"),
        ("MIT OR Appache-2.0", "'Appache-2.0' is not on the SPDX list"),
        ("MIT\x1b", "is no SPDX expression"),
    ],
)
def test_a_licence_is_refused(into, licence, told):
    assert told in refusal(into, licence=licence)


@pytest.mark.parametrize("licence", ["MIT", "Apache-2.0", "MIT OR Apache-2.0", "LicenseRef-NAME"])
def test_the_licences_that_messages_name_are_fine(licence):
    assert licensing.checked(licence) == licence


def test_licences_cannot_be_checked_without_the_list(into, monkeypatch):
    monkeypatch.setattr(spdx, "parser", lambda: None)
    told = error_text(PackageMissing, new_pack, "acme", into=into)
    assert told == 'licences cannot be checked without license-expression: pip install "optim-core[licenses]"'


# what is missing ------------------------------------------------------------------------------------------------
def test_without_jinja2_the_command_says_what_to_install(into, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "jinja2" else find(name))
    done = run("acme", "--into", str(into))
    assert done.exit_code == 2
    assert done.output == 'Error: a new pack is rendered by jinja2: pip install "optim-core[scaffold]"\n'
    assert not [*into.iterdir()]


def test_the_command_reports_a_refusal_in_a_line(into):
    done = run("lion", "--into", str(into))
    assert done.exit_code == 1
    assert done.output.startswith("Error: 'lion' is taken")
    assert len(done.output.splitlines()) == 1


def test_a_kind_that_does_not_exist_is_refused():
    done = run("acme", "--kind", "loss")
    assert done.exit_code == 2
    assert "'optimizer', 'wrapper', 'scheduler', 'plain'" in done.output


# classes that exist ---------------------------------------------------------------------------------------------
#: A library of somebody, as a distribution: each class with what a spec has to say of it.
LIBRARY = '''
import torch
from torch.optim import SGD

class Rows(SGD):
    """Says "hello", \\\\ too.

    And more.
    """
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["rows"] = torch.zeros(p.shape[0] if p.ndim else 1)
                self.state[p]["odd"] = torch.zeros(7)
                self.state[p]["count"] = 3
        return super().step(closure)

class Curved(SGD):
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                torch.autograd.grad(p.grad.sum(), p, retain_graph=True)
        return super().step()

class Modes(SGD):
    def train(self): ...
    def eval(self): ...

class Needy(SGD):
    def __init__(self, params, lr):
        super().__init__(params, lr=lr)

class Lame(SGD):
    def step(self, closure=None):
        raise RuntimeError("cannot")

def function(): ...
'''


def distribution(site: Site, name: str, version: str, module: str, more: str = "") -> None:
    """Install the metadata of a library."""
    info = site.root / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{more}")
    info.joinpath("top_level.txt").write_text(f"{module}\n")


@pytest.fixture
def library(site: Site) -> str:
    """The module of that library, installed."""
    distribution(site, "acme-library", "2.5.0", "fake_library", "License: ISC\n")
    site.root.joinpath("fake_library.py").write_text(LIBRARY)
    return "fake_library"


def manifest(folder: Path) -> str:
    return (folder / "acme_optim" / "pack.py").read_text(encoding="utf-8")


def test_a_class_is_registered_with_what_it_keeps(library, into):
    folder = new_pack("acme", from_class=f"{library}:Rows", into=into)
    text = manifest(folder)
    assert 'target="fake_library:Rows"' in text
    assert 'license="ISC"' in text
    assert r'''summary="Says \"hello\", \\ too."''' in text
    assert '"rows": "row",\n' in text
    assert "# Left out, because the size follows no rule of the core: odd.\n" in text
    assert "count" not in text
    assert "needs=()" in text
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["dependencies"][1:] == ["acme-library>=2.5.0"]
    assert project["license"] == "MIT"
    assert not (folder / "acme_optim" / "acme.py").exists()


@pytest.mark.parametrize(("cls", "needs"), [("Curved", '("create_graph",)'), ("Modes", '("train_eval_mode",)')])
def test_a_class_is_registered_with_what_it_needs(library, into, cls, needs):
    assert f"needs={needs}," in manifest(new_pack("acme", from_class=f"{library}:{cls}", into=into))


@pytest.mark.parametrize(
    ("target", "needs", "state"),
    [
        ("torch.optim:SGD", (), {}),
        ("torch.optim:AdamW", (), {"step": "tensor", "exp_avg": "element", "exp_avg_sq": "element"}),
        ("torch.optim:LBFGS", ("closure",), {}),
    ],
)
def test_torch_s_own_classes(site, target, needs, state):
    distribution(site, "torch", "2.99.1+cpu", "torch", "License-Expression: BSD-3-Clause AND MIT\n")
    found = inspected(target)
    assert (found.needs, found.state) == (needs, state)
    assert (found.requirement, found.license) == ("torch>=2.99.1", "BSD-3-Clause AND MIT")


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("fake_library", "should be module:Class, such as my_library.optim:MyAdam"),
        ("fake_library:Missing", "cannot be imported here (AttributeError: "),
        ("no_such_library:Adam", "cannot be imported here (ModuleNotFoundError: No module named 'no_such_library')"),
        ("fake_library:function", "is no torch.optim.Optimizer: name a class that derives from it"),
        ("fake_library:torch", "is no torch.optim.Optimizer"),
        ("fake_library:Needy", "Needy(params) fails (TypeError: "),
        ("fake_library:Lame", "Lame takes no step, neither after backward() nor after backward(create_graph=True)"),
    ],
)
def test_a_class_is_refused(library, into, target, told):
    assert told in refusal(into, from_class=target)


def test_a_class_that_no_distribution_has_is_refused(site, into):
    site.root.joinpath("fake_loose.py").write_text(LIBRARY)
    text = refusal(into, from_class="fake_loose:Rows")
    assert "the module 'fake_loose' belongs to no installed distribution, so that no pack can require it" in text
    assert new_pack("acme", kind="plain", into=into).is_dir()


def test_a_class_of_an_editable_distribution_is_found(site, into, tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.mkdir()
    source.joinpath("fake_linked.py").write_text(LIBRARY)
    info = site.root / "linked-1.0.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text("Metadata-Version: 2.4\nName: linked\nVersion: 1.0\n")
    info.joinpath("direct_url.json").write_text(json.dumps({"url": source.as_uri(), "dir_info": {"editable": True}}))
    monkeypatch.syspath_prepend(source)
    folder = new_pack("acme", from_class="fake_linked:Rows", into=into, licence="Zlib")
    assert '"linked>=1.0",\n' in (folder / "pyproject.toml").read_text(encoding="utf-8")
    assert 'license="Zlib"' in manifest(folder)  # the distribution declares none


def test_a_class_is_registered_as_it_is_or_a_kind_is_begun(library, into):
    text = refusal(into, from_class=f"{library}:Rows", kind="wrapper")
    assert "--from-class registers a plain optimizer as it is, and --kind wrapper begins one anew" in text
    assert new_pack("acme", from_class=f"{library}:Rows", kind="plain", into=into).is_dir()


def test_the_error_is_the_library_s():
    assert issubclass(ScaffoldError, errors.OptimCoreError)
