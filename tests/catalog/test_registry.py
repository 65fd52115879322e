"""Packs: broken ones, those switched off, and those without an entry point."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support.fake_packs import error_text, manifest_module, manifest_text, spec

import optim_core
from optim_core import errors
from optim_core.catalog import registry as registry_module
from optim_core.catalog.registry import register_pack, registry

# broken packs ---------------------------------------------------------------------------------------------------

BROKEN = {
    "import": ("import not_there", "ModuleNotFoundError: No module named 'not_there'"),
    "api": (
        "OPTIM_CORE_API = 2",
        "made for version 2 of the hooks, this core knows 1: pip install --upgrade optim-core",
    ),
    "hooks": (
        "from optim_core.catalog import hookimpl\n@hookimpl\ndef optim_core_optimizers(): raise ValueError('oh')",
        "ValueError: oh",
    ),
    "specs": (
        "from optim_core.catalog import hookimpl\n@hookimpl\ndef optim_core_optimizers(): return ['lion']",
        "optim_core_optimizers() returned str 'lion', not OptimizerSpec",
    ),
}


@pytest.mark.parametrize("stage", BROKEN)
def test_a_broken_pack_is_skipped_and_the_rest_works(site, stage):
    text, cause = BROKEN[stage]
    site.install("good", spec("lion"))
    site.install("bad", manifest=text, version="0.3")
    with pytest.warns(errors.PackWarning) as warned:
        found = site.registry()
    assert len(warned) == 1
    assert f"pack 'bad' (bad-optim 0.3) failed to load ({stage}: " in str(warned[0].message)
    assert cause in str(warned[0].message)
    (failure,) = found.failures
    assert (failure.name, failure.version, failure.stage) == ("bad", "0.3", stage)
    assert optim_core.get("lion")
    assert cause in error_text(errors.PackBroken, optim_core.get, "bad:lion")


def test_a_broken_pack_is_warned_about_once(site):
    site.install("bad", manifest="1/0")
    with pytest.warns(errors.PackWarning, match="pip install --upgrade --force-reinstall bad-optim") as warned:
        optim_core.find()
    assert warned[0].filename == __file__
    registry()
    site.registry()


@pytest.mark.parametrize(
    ("manifest", "text"),
    [
        (
            "def optim_core_optimizers(): return []",
            "mark the manifest's functions with optim_core.catalog.hookimpl",
        ),
        (
            "from optim_core.catalog import hookimpl\n@hookimpl\ndef optim_core_optimisers(): return []",
            "unknown hook 'optim_core_optimisers'",
        ),
        ("OPTIM_CORE_API = 'new'", "OPTIM_CORE_API='new' should be a whole number"),
        (manifest_text(spec("a"), spec("b", aliases=("a",))), "both 'a' and 'b' are called 'a'"),
        (
            manifest_text(spec("a", license="ISC", target="fake_bad_optim.a:A")),
            "'a' is ISC, but the distribution declares MIT",
        ),
        (
            "from optim_core.catalog import *\nOptimizerSpec(name='A', target='', summary='', license='')",
            "name='A'",
        ),
    ],
)
def test_what_a_manifest_may_not_do(site, manifest, text):
    site.install("bad", manifest=manifest)
    with pytest.warns(errors.PackWarning) as warned:
        site.registry()
    assert text in str(warned[0].message)


def test_a_name_of_ours_in_a_broken_pack(site):
    site.install("sign", manifest="1/0", distribution="optim-core-sign")
    with pytest.warns(errors.PackWarning):
        site.registry()
    with pytest.raises(errors.PackBroken) as raised:
        optim_core.get("lion")
    assert str(raised.value) == (
        "'lion' is in pack 'sign' (optim-core-sign 1.0), which failed to load (import: ZeroDivisionError: division by "
        "zero). Reinstall it: pip install --upgrade --force-reinstall optim-core-sign"
    )
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


def test_strict(site, monkeypatch):
    site.install("bad", manifest="1/0")
    monkeypatch.setenv("OPTIM_CORE_STRICT", "1")
    assert "pack 'bad' (bad-optim 1.0) failed to load" in error_text(errors.PackBroken, optim_core.find)
    monkeypatch.setenv("OPTIM_CORE_STRICT", "0")
    with pytest.warns(errors.PackWarning):
        assert optim_core.find() == []


def test_two_distributions_of_one_pack_name(site):
    site.install("acme", spec("one"), distribution="first")
    site.install("Acme", spec("two"), distribution="second", version="2.0")
    with pytest.warns(errors.PackWarning) as warned:
        found = site.registry()
    assert found.packs == ()
    assert {failure.stage for failure in found.failures} == {"name"}
    assert "neither is used. Uninstall one of them: pip uninstall " in str(warned[0].message)
    assert all(name in str(warned[0].message) for name in ("first 1.0", "second 2.0"))


@pytest.mark.parametrize(
    ("name", "text"), [("Torch", "reserved for torch's own"), ("a,b", "a pack's name consists of")]
)
def test_names_that_a_pack_may_not_have(site, name, text):
    site.install(name, spec("lion"), distribution="x")
    with pytest.warns(errors.PackWarning, match=text):
        site.registry()


# switches -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("switch", [{"OPTIM_CORE_PACKS": "good"}, {"OPTIM_CORE_DISABLE": "sign, BAD"}])
def test_switches_apply_before_anything_is_imported(site, monkeypatch, switch):
    site.install("good", spec("lion"))
    package = site.install("bad", manifest="1/0")
    for variable, value in switch.items():
        monkeypatch.setenv(variable, value)
    found = site.registry()
    assert [pack.name for pack in found.packs] == ["good"]
    assert [off.name for off in found.disabled] == ["bad"]
    assert package not in sys.modules


@pytest.mark.parametrize(
    ("variable", "value", "remedy"),
    [
        ("OPTIM_CORE_DISABLE", "sign", "Take it out: unset OPTIM_CORE_DISABLE"),
        ("OPTIM_CORE_DISABLE", "Sign,good", "Take it out: export OPTIM_CORE_DISABLE=good"),
        ("OPTIM_CORE_PACKS", "good", "Add it: export OPTIM_CORE_PACKS=good,sign"),
    ],
)
def test_a_name_in_a_pack_that_is_switched_off(site, monkeypatch, variable, value, remedy):
    site.install("sign", spec("lion"), distribution="optim-core-sign")
    site.install("good", spec("tiger"))
    monkeypatch.setenv(variable, value)
    state = f"is switched off by {variable}={value}. {remedy}"
    assert error_text(errors.PackDisabled, optim_core.get, "lion") == (
        f"'lion' is in pack 'sign' (optim-core-sign 1.0), which {state}"
    )
    assert error_text(errors.PackDisabled, optim_core.get, "sign:lion") == f"pack 'sign' (optim-core-sign 1.0) {state}"


# packs without an entry point -----------------------------------------------------------------------------------


def test_register_a_module(site):
    manifest = manifest_module(spec("lion"))
    register_pack("mine", manifest)
    register_pack("mine", manifest)
    assert optim_core.get("mine:lion") is optim_core.get("lion")
    assert [str(pack) for pack in site.registry().packs] == ["'mine'"]


def test_register_by_the_name_of_the_module(site):
    site.root.joinpath("fake_mine.py").write_text(manifest_text(spec("lion")))
    register_pack("mine", "fake_mine")
    assert optim_core.get("lion")


def test_register_under_a_name_that_is_taken(site):
    site.install("mine", spec("lion"))
    text = error_text(errors.SpecError, register_pack, "Mine", manifest_module(spec("tiger")))
    assert text == "there is a pack 'Mine' already. Register this one under another name"


def test_register_what_does_not_work(site):
    text = error_text(errors.PackBroken, register_pack, "mine", "fake_nowhere")
    assert text == ("pack 'mine' failed to load (import: ModuleNotFoundError: No module named 'fake_nowhere')")
    assert registry_module.registry().packs == ()


# a real process -------------------------------------------------------------------------------------------------


def test_entry_points_of_an_installed_distribution(site):
    site.install("acme", spec("acme_lion"), distribution="acme-optim")
    code = "import optim_core; print(optim_core.info('acme:acme-lion').summary)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(site.root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "Steps.\n"
