"""`optim-core doctor`: dead targets, requirements, what is off; as JSON, for one pack, for very many methods."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from click.testing import CliRunner
from support.fake_packs import Site, manifest_module, spec

import optim_core
from optim_core import terminal
from optim_core.catalog import installed as installed_module
from optim_core.catalog import resolving
from optim_core.catalog.registry import register_pack
from optim_core.cli import output
from optim_core.cli.app import app


def run(*arguments: str, code: int = 0) -> list[str]:
    """The lines of a command, which must exit with this code."""
    done = CliRunner(env={"COLUMNS": "160"}).invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == code, done.output
    return [" ".join(line.split()) for line in done.stdout.splitlines()]


def facts(*arguments: str, code: int = 0) -> dict[str, Any]:
    return json.loads("\n".join(run("doctor", "--json", *arguments, code=code)))


def starting(lines: list[str], start: str) -> list[str]:
    return [line.removeprefix(start) for line in lines if line.startswith(start)]


def require(site: Site, pack: str, *requirements: str) -> None:
    """Add requirements to the metadata of an installed pack."""
    path = site.root / f"{pack}_optim-1.0.dist-info" / "METADATA"
    head, _, rest = path.read_text().partition("\n\n")
    path.write_text("\n".join([head, *(f"Requires-Dist: {r}" for r in requirements)]) + "\n\n" + rest)


# dead targets ---------------------------------------------------------------------------------------------------
DEAD = {
    "no such package": ("nowhere.at.all:X", "there is no module nowhere.at.all"),
    "no such module": ("fake_acme_optim.gone:X", "there is no module fake_acme_optim.gone"),
    "a module in a module": ("fake_acme_optim.there.gone:X", "there is no module fake_acme_optim.there.gone"),
    "no such class": ("fake_acme_optim.there:Gone", "fake_acme_optim.there has no Gone"),
    "a module at hand": ("os.path:Gone", "os.path has no Gone"),
}
ALIVE = {
    "a class": "fake_acme_optim.there:Here",
    "another name": "fake_acme_optim.there:Alias",
    "imported": "fake_acme_optim.there:SGD",
    "under a condition": "fake_acme_optim.there:Maybe",
    "given on demand": "fake_acme_optim.lazy:Whatever",
    "from everything": "fake_acme_optim.star:Here",
    "made at run time": "fake_acme_optim.dynamic:Made",
}
MODULES = {
    "there": "from torch.optim import SGD\nclass Here(SGD): pass\nAlias = Here\nif True:\n    class Maybe(SGD): pass",
    "lazy": "def __getattr__(name):\n    from torch.optim import SGD\n    return {'Whatever': SGD}[name]",
    "star": "from fake_acme_optim.there import *",
    "dynamic": "from torch.optim import SGD\nglobals()['Made'] = SGD",
}  # fmt: skip


@pytest.mark.parametrize("what", DEAD)
@pytest.mark.parametrize("deep", [False, True])
def test_a_dead_target_is_a_problem(site, what, deep):
    target, told = DEAD[what]
    site.install("good", spec("lion"))
    site.install("acme", spec("puma", target=target), modules=MODULES)
    lines = run("doctor", *["--deep"] * deep, code=1)
    (problem,) = starting(lines, "problem: ")
    assert "'acme' (acme-optim 1.0)" in problem
    assert "'puma'" in problem or "'acme:puma'" in problem
    assert deep or told in problem
    assert "einstall" in problem
    assert lines[-1] == "Something is broken."
    assert optim_core.get("lion")


def test_living_targets_are_none_and_nothing_is_imported(site):
    site.install("acme", *(spec(f"m{i}", target=t) for i, t in enumerate(ALIVE.values())), modules=MODULES)
    assert run("doctor")[-1].startswith("Nothing is wrong from outside.")
    assert "fake_acme_optim.there" not in sys.modules
    assert run("doctor", "--deep")[-1] == "All is well."
    assert "fake_acme_optim.there" in sys.modules


def test_the_installed_packs_are_found_alive():
    from optim_core.catalog.registry import registry

    assert not resolving.looked_at(registry().entries)


# deep -----------------------------------------------------------------------------------------------------------
def test_deep_imports_and_times_every_method_whatever_they_do(site):
    site.install("good", spec("lion"))
    hostile = {"raises": "1/0", "exits": "raise SystemExit(0)", "panics": "class P(BaseException): pass\nraise P",
               "prints": "print('{')\nfrom torch.optim import SGD as X", "number": "X = 5"}  # fmt: skip
    site.install("bad", *(spec(name, target=f"fake_bad_optim.{name}:X") for name in hostile), modules=hostile)
    found = facts("--deep", code=1)
    by_name = {row["name"]: row for row in found["imports"]}
    assert set(by_name) == {"good:lion", *(f"bad:{name}" for name in hostile)}
    assert all(row["seconds"] >= 0 for row in found["imports"])
    assert [by_name[name]["problem"] for name in ("good:lion", "bad:prints")] == ["", ""]
    assert "ZeroDivisionError" in by_name["bad:raises"]["problem"]
    assert "SystemExit: 0" in by_name["bad:exits"]["problem"]
    assert "is not an optimizer" in by_name["bad:number"]["problem"]
    assert len(found["problems"]) == 4
    assert "the slowest:" in "\n".join(run("doctor", "--deep", code=1))


@pytest.mark.parametrize(
    ("requirement", "told"),
    [
        ("optim-core>=99", "asks for optim-core>=99, but 0.1.0 is installed: pip install --upgrade acme-optim"),
        ("optim-core<0.1", "asks for optim-core<0.1, but 0.1.0 is installed"),
        ("no-such-thing>1", "asks for no-such-thing>1, which is not installed"),
        ("== what", "asks for '== what', which is no requirement"),
    ],
)
def test_deep_reads_requirements(site, requirement, told):
    site.install("acme", spec("lion"))
    require(site, "acme", "torch", "optim-core>=0.1", "nothing; extra == 'x'", "nothing; python_version < '3'")
    assert run("doctor", "--deep")[-1] == "All is well."
    require(site, "acme", requirement)
    (problem,) = starting(run("doctor", "--deep", code=1), "problem: ")
    assert problem.startswith("pack 'acme' (acme-optim 1.0) ")
    assert told in problem
    assert not starting(run("doctor"), "problem: ")


@pytest.mark.parametrize("group", ["optim-core.packs", "optim_core.pack", "optim_core.Packs", "optim_cor.packs"])
def test_deep_finds_groups_that_are_nearly_ours(site, group):
    site.install("acme", spec("lion"))
    points = site.root / "acme_optim-1.0.dist-info" / "entry_points.txt"
    points.write_text(points.read_text() + f"[{group}]\nx = y\n[console_scripts]\nrun = a:b\n")
    (problem,) = starting(run("doctor", "--deep", code=1), "problem: ")
    assert problem.startswith(f"acme-optim has entry points in the group {group!r}")


def test_deep_finds_packs_without_methods(site):
    site.install("empty")
    (problem,) = starting(run("doctor", "--deep", code=1), "problem: ")
    assert problem.startswith("pack 'empty' (empty-optim 1.0) brings nothing")
    assert "empty empty-optim 1.0 MIT 0 methods" in run("doctor")


def test_deep_tells_what_is_off_and_by_what(site, monkeypatch):
    site.install("off", spec("lion"))
    site.install("acme", spec("puma", license="GPL-3.0-only"), licence="GPL-3.0-only")
    monkeypatch.setenv("OPTIM_CORE_DISABLE", "off")
    monkeypatch.setenv("OPTIM_CORE_LICENSE_DENY", "GPL-3.0-only")
    monkeypatch.setenv("OPTIM_CORE_ENGINE", "eager")
    notes = "\n".join(starting(run("doctor", "--deep"), "note: "))
    assert "pack 'off' (off-optim 1.0) is switched off by OPTIM_CORE_DISABLE=off" in notes
    assert "1 method switched off by OPTIM_CORE_LICENSE_DENY=GPL-3.0-only: acme:puma" in notes
    assert "all engines but 'eager' are switched off by OPTIM_CORE_ENGINE" in notes


# JSON, one pack -------------------------------------------------------------------------------------------------
def test_json(site, monkeypatch):
    site.install("good", spec("lion"))
    site.install("bad", manifest="1/0")
    site.install("off", spec("puma"))
    monkeypatch.setenv("OPTIM_CORE_DISABLE", "off")
    found = facts(code=1)
    assert {pack["name"]: (pack["state"], pack["methods"]) for pack in found["packs"]} == {
        "good": ("works", 1),
        "bad": ("broken", 0),
        "off": ("off", 0),
    }
    assert found["settings"] == {"OPTIM_CORE_DISABLE": "off"}
    assert found["optim_core"] == optim_core.__version__
    assert {"name", "version", "for"} == set(found["packages"][0])
    assert len(found["problems"]) == 1
    assert found["imports"] == []


def test_one_pack_alone(site):
    site.install("good", spec("lion"))
    site.install("bad", manifest="1/0")
    site.install("dead", spec("puma", target="nowhere:X"))
    assert [pack["name"] for pack in facts("--pack", "Good")["packs"]] == ["good"]
    assert "ZeroDivisionError" in facts("--pack", "bad", code=1)["problems"][0]
    assert "nowhere" in facts("--pack", "dead", code=1)["problems"][0]
    done = CliRunner().invoke(app, ["doctor", "--pack", "goof"])
    assert done.exit_code == 1
    assert "no pack 'goof'. Did you mean 'good'" in done.output


def test_a_settled_name_is_a_note(site, monkeypatch):
    site.install("sign", spec("lion"), distribution="optim-core-sign")
    site.install("acme", spec("lion"))
    assert len(starting(run("doctor", code=1), "problem: ")) == 1
    monkeypatch.setenv("OPTIM_CORE_PREFER", "acme:lion")
    assert "note: 'lion' means 'acme:lion', by OPTIM_CORE_PREFER" in run("doctor")


def test_a_licence_that_no_list_has_is_noted(site):
    site.install("acme", spec("lion", license="free"), licence=None)
    (note,) = starting(run("doctor"), "note: ")
    assert note.startswith("'free', the licence of methods in 'acme' (acme-optim 1.0), is not on SPDX's list")


# manners: each works, and is told of ------------------------------------------------------------------------------
MANNERS = {
    "prints": ("print('welcome')", "prints 'welcome'"),
    "imports torch": ("import torch", "imports torch: a manifest names its classes as texts"),
    "sleeps": ("import time\ntime.sleep(0.6)", "takes 0."),
}


@pytest.mark.parametrize("what", MANNERS)
def test_ill_manners_of_a_manifest(site, what):
    text, told = MANNERS[what]
    hook = "from optim_core.catalog import *\n@hookimpl\ndef optim_core_optimizers():\n    "
    lynx = "OptimizerSpec(name='lynx', target='torch.optim:SGD', summary='S.', license='MIT')"
    site.install("acme", manifest=f"{text}\n{hook}return [{lynx}]")
    site.install("good", spec("puma"))
    # in a process of its own, into which nobody has imported torch before
    code = "import sys; sys.argv = ['optim-core', 'doctor', '--json']; from optim_core.cli import main; main()"
    path = f"{site.root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    (problem,) = json.loads(done.stdout)["problems"]
    assert problem.startswith(f"the manifest of pack 'acme' (acme-optim 1.0) {told}")
    assert problem.endswith("export OPTIM_CORE_DISABLE=acme")
    assert optim_core.get("lynx") is optim_core.get("puma")


# very many ------------------------------------------------------------------------------------------------------
def calls_for(site: Site, monkeypatch: pytest.MonkeyPatch, count: int) -> int:
    """How often names are put into normal form by `list`, `licenses` and `doctor` with so many methods."""
    pack = f"many{count}"
    specs = [spec(f"n{count}x{i}", aliases=(f"a{count}x{i}",)) for i in range(count)]
    register_pack(pack, manifest_module(*specs))
    counted = 0
    normalise = installed_module.normalise

    def counting(name: str) -> str:
        nonlocal counted
        counted += 1
        return normalise(name)

    with monkeypatch.context() as patch:
        patch.setattr(installed_module, "normalise", counting)
        patch.setattr(output, "print_table", lambda *headers, rows, **_: list(rows))
        for command in ("list", "licenses", "doctor"):
            run(command)
        optim_core.get_supported_optimizers()
    return counted


def test_the_work_grows_with_the_number_of_methods_and_no_faster(site, monkeypatch):
    few = calls_for(site, monkeypatch, 200)
    many = calls_for(site, monkeypatch, 1800)  # ten times as many, with those that are there
    assert many <= 12 * few


def test_a_long_table_looks_like_a_short_one(monkeypatch):
    rows = [(f"m{i}", "µ" * (i % 7), f"word {i} " * (i % 25)) for i in range(60)]
    console = terminal.Console(width=70, highlight=False)
    headers = ("name", "of", "what it does")

    def shown(elastic: str, rows: list[tuple[str, ...]], heads: tuple[str, ...]) -> list[str]:
        with console.capture() as capture:
            laid_out = terminal.table(*heads, rows=rows, out=console, elastic=elastic)
            if isinstance(laid_out, str):
                return [line.rstrip() for line in (laid_out + "\n").splitlines()]
            console.print(laid_out, crop=False)
        return [line.rstrip() for line in capture.get().splitlines()]

    for elastic, cells, heads in (
        ("what it does", rows, headers),
        ("", [row[:2] for row in rows], headers[:2]),
        ("of", [(row[0], row[2]) for row in rows], headers[:2]),
    ):
        by_rich = shown(elastic, cells, heads)
        with monkeypatch.context() as patch:
            patch.setattr(terminal, "_MANY", 1)
            assert shown(elastic, cells, heads) == by_rich
