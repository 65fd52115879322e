"""Packs of strangers: whatever one does, the others work, and `doctor` names it in one line and exits with 1."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.fake_packs import Site, error_text, manifest_module, spec

import optim_core
from optim_core import errors
from optim_core.catalog.registry import load_class, register_pack
from optim_core.catalog.sizes import element_count, size_text
from optim_core.catalog.specs import OptimizerSpec, Paper

HOOK = "from optim_core.catalog import *\n@hookimpl\ndef optim_core_optimizers():\n    "
ONE = "OptimizerSpec(name='a', target='b:C', summary='S.', license='MIT')"
LOOP = HOOK + f"spec = {ONE}\n    while True:\n        yield spec"
SPEC = HOOK + "return [OptimizerSpec(**{'name': 'a', 'target': 'b:C', 'summary': 'S.', 'license': 'MIT', %s})]"

#: What a manifest does, and what is said of it.
MANIFESTS = {
    "fails": ("1/0", "import: ZeroDivisionError: division by zero"),
    "exits": ("import sys\nsys.exit(0)", "import: SystemExit: 0"),
    "exits with a text": ("raise SystemExit('too old\\nproblem: forged')", r"SystemExit: too old\nproblem: forged"),
    "panics": ("class PanicException(BaseException): pass\nraise PanicException('rust')", "PanicException: rust"),
    "controls": ("raise ValueError('a\\x1b[2K\\rproblem: b\\u202e')", r"ValueError: a\x1b[2K\rproblem: b\u202e"),
    "has no text": ("class E(Exception):\n    def __str__(self): 1/0\nraise E", "import: E: (without a text)"),
    "is long": ("raise ValueError('x' * 10**6)", "xxx ..."),
    "recurses": ("def f(): f()\nf()", "import: RecursionError"),
    "raises in a hook": (HOOK + "raise RuntimeError('oh')", "hooks: RuntimeError: oh"),
    "exits in a hook": (HOOK + "raise SystemExit(3)", "hooks: SystemExit: 3"),
    "returns nothing": (HOOK + "pass", "optim_core_optimizers() returned None, not a list of OptimizerSpec"),
    "returns a number": (HOOK + "return 5", "optim_core_optimizers() returned 5, not a list of OptimizerSpec"),
    "returns a text": (HOOK + "return 'lion'", "returned str 'l', not OptimizerSpec"),
    "returns a class": (HOOK + "return [OptimizerSpec]", "returned type <class"),
    "returns one twice": (HOOK + f"s = {ONE}\n    return [s, s]", "both 'a' and 'a' are called 'a'"),
    "returns what it derives": (HOOK + f"class S(OptimizerSpec): pass\n    return [S{ONE[13:]}]", "returned S "),
    "does not end": (LOOP, "optim_core_optimizers() returned more than 10000 specs"),
    "a newer api": ("OPTIM_CORE_API = 2\n" + HOOK + "return 1", "this core knows 1: pip install --upgrade optim-core"),
    "a newer import": ("from optim_core.catalog import LossSpec", "newer core: pip install --upgrade optim-core"),
    "a licence": (SPEC % "'license': 'free for all'", "license='free for all' should be an SPDX expression"),
    "a summary": (SPEC % "'summary': 'S.\\nproblem: forged'", r"summary='S.\nproblem: forged' should be one line"),
    "a code": (SPEC % "'code': 5", "code=5 should be one line of printable text"),
    "aliases": (SPEC % "'aliases': 'lion'", "aliases='lion' should be a tuple of texts"),
    "a paper": (SPEC % "'paper': 'https://x'", "paper='https://x' should be a Paper"),
    "a state": (SPEC % "'state': ['m']", "state=['m'] should be a size for each name"),
    "a size": (SPEC % "'state': {'m': 3}", "state['m']=3 should be one line of printable text"),
}  # fmt: skip


def doctor(site: Site, *, code: int = 1) -> list[str]:
    """The lines of `doctor`, which must exit with this code."""
    from click.testing import CliRunner

    from optim_core.cli.app import app

    done = CliRunner(env={"COLUMNS": "160"}).invoke(app, ["doctor"], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.stdout.splitlines()


def problem(site: Site) -> str:
    """The one problem that `doctor` finds; no line but those of `doctor` may look like one."""
    (line,) = [line for line in doctor(site) if line.startswith("problem: ")]
    assert line.isprintable()
    return line


@pytest.fixture
def good(site):
    """A site with a pack that works, whatever else is installed there."""
    site.install("good", spec("lion"))
    return site


@pytest.mark.parametrize("what", MANIFESTS)
def test_a_hostile_manifest(good, what):
    manifest, told = MANIFESTS[what]
    good.install("bad", manifest=manifest)
    with pytest.warns(errors.PackWarning) as warned:
        assert optim_core.get("lion").__name__ == "SGD"
    assert len(warned) == 1
    assert str(warned[0].message).isprintable()
    assert told in str(warned[0].message)
    assert "pack 'bad' (bad-optim 1.0) failed to load" in problem(good)
    assert told in problem(good)


def test_an_interrupt_passes(good):
    good.install("slow", manifest="raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        good.registry()


# metadata -------------------------------------------------------------------------------------------------------
LATIN = "Metadata-Version: 2.1\nName: acme\nVersion: 1.0\nAuthor: José\n".encode("latin-1")
PLAIN = b"Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n"
POINTS = b"[optim_core.packs]\nacme = fake_acme.pack\n"
METADATA = {
    "Latin-1": (LATIN, POINTS, "METADATA is not UTF-8, from byte 57 on"),
    "Latin-1 in the entry points": (PLAIN, "# José\n".encode("latin-1") + POINTS, "'utf-8' codec"),
    "no value": (PLAIN, b"[optim_core.packs]\nacme\n", "pack 'acme' (acme 1.0) failed to load (metadata: "),
    "no value elsewhere": (PLAIN, b"[console_scripts]\nrun\n" + POINTS, "pack 'acme' (acme 1.0) failed to load"),
    "an impossible value": (PLAIN, b"[optim_core.packs]\nacme = a b!:\n", "pack 'acme' (acme 1.0) failed to load"),
    "no name": (b"Metadata-Version: 2.1\n", POINTS, "its METADATA has no Name"),
    "no metadata": (None, POINTS, "its METADATA has no Name"),
    "controls": (PLAIN.replace(b"e\n", b"e\x1b\n"), b"[optim_core.packs]\n\x1bx = y\n", r"'\x1bx' (acme\x1b 1.0)"),
}  # fmt: skip


def distribution(root: Path, metadata: bytes | None, entry_points: bytes) -> None:
    info = root / "acme-1.0.dist-info"
    info.mkdir()
    if metadata is not None:
        info.joinpath("METADATA").write_bytes(metadata)
    info.joinpath("entry_points.txt").write_bytes(entry_points)


@pytest.mark.parametrize("what", METADATA)
def test_metadata_that_cannot_be_read(good, what):
    metadata, entry_points, told = METADATA[what]
    distribution(good.root, metadata, entry_points)
    with pytest.warns(errors.PackWarning) as warned:
        assert optim_core.get("lion").__name__ == "SGD"
    assert told in str(warned[0].message)
    assert told in problem(good)


def test_metadata_of_others_do_not_matter(good):
    distribution(good.root, LATIN, "[console_scripts]\nrun\n# José".encode("latin-1"))
    assert optim_core.get("lion").__name__ == "SGD"
    assert not good.registry().failures


def test_a_second_folder_with_the_same_distribution(good, tmp_path):
    twin = good.root / "twin-2.0.dist-info"
    twin.mkdir()
    original = good.root / "good_optim-1.0.dist-info"
    for name in ("METADATA", "entry_points.txt"):
        twin.joinpath(name).write_bytes(original.joinpath(name).read_bytes())
    assert [pack.name for pack in good.registry().packs] == ["good"]


# output ---------------------------------------------------------------------------------------------------------
def test_what_a_pack_prints_does_not_spoil_json(site):
    site.install("loud", spec("lion"), manifest="print('welcome')\n" + SPEC % "'state': {'m': 'fake_loud_optim.s:f'}",
                 modules={"s": "print('sizes')\ndef f(shape): print('size'); return 1"})  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": f"{site.root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    for command in (["list", "--json", "a"], ["licenses", "--json"], ["show", "loud:a", "--json"]):
        code = f"import sys; sys.argv = ['optim-core', *{command!r}]; from optim_core.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )
        assert json.loads(done.stdout)
        assert "welcome" in done.stderr


# classes --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("raise RuntimeError('no GPU\\nproblem: x')", r"RuntimeError: no GPU\nproblem: x"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("class P(BaseException): pass\nraise P('panic')", "P: panic"),
        ("def __getattr__(name): raise SystemExit(2)", "SystemExit: 2"),
        ("(", "SyntaxError: "),
    ],
)
def test_a_module_that_raises_when_its_class_is_asked_for(good, text, told):
    good.install("bad", spec("tiger", target="fake_bad_optim.tiger:Tiger"), modules={"tiger": text})
    message = error_text(errors.PackBroken, optim_core.get, "tiger")
    assert message.startswith("'tiger' cannot be loaded from fake_bad_optim.tiger:Tiger: ")
    assert told in message
    assert message.isprintable()
    assert optim_core.get("lion")


def test_an_interrupt_passes_a_class(good):
    good.install("bad", spec("tiger", target="fake_bad_optim.t:T"), modules={"t": "raise KeyboardInterrupt"})
    with pytest.raises(KeyboardInterrupt):
        load_class(optim_core.info("tiger"))


def test_a_size_that_cannot_be_computed(good):
    good.install("bad", modules={"sizes": "raise SystemExit(1)"})
    text = "the size fake_bad_optim.sizes:f of a state is unknown: SystemExit: 1"
    assert error_text(errors.PackBroken, element_count, "fake_bad_optim.sizes:f", (2, 3)) == text
    assert error_text(errors.PackBroken, size_text, "fake_bad_optim.sizes:f") == text


def test_a_spec_keeps_a_plain_mapping():
    from types import MappingProxyType

    declared = OptimizerSpec(
        name="a",
        target="b:C",
        summary="S.",
        license="MIT",
        state=MappingProxyType({"m": "row"}),
        paper=Paper(title="T", url="https://example.org", year=2023),
    )
    assert json.loads(json.dumps(declared.as_dict()))["state"] == {"m": "row"}


# names of ours --------------------------------------------------------------------------------------------------
OURS = "optim-core-second-order"


def first_party(site):
    site.install("second_order", spec("sophiah", aliases=("sophia",)), distribution=OURS)


def test_a_stranger_s_pack_named_like_one_of_ours(site):
    site.install("second-order", spec("sophiah", summary="Stolen."), distribution="evil")
    with pytest.warns(errors.PackWarning, match="the name 'second-order' belongs to optim-core-second-order"):
        site.registry()
    assert "'second-order' (evil 1.0)" in problem(site)
    install = 'pip install "optim-core[second-order]"'
    assert error_text(errors.PackNotInstalled, optim_core.get, "sophia").endswith(install)
    first_party(site)
    site.registry()
    assert optim_core.info("second_order:sophiah").summary == "Steps."
    assert optim_core.info("sophia").name == "sophiah"


def test_a_pack_registered_by_hand_may_be_called_like_one_of_ours(site):
    register_pack("second_order", manifest_module(spec("sophiah", aliases=("sophia",))))
    assert optim_core.info("sophia").name == "sophiah"


@pytest.mark.parametrize(("name", "asked"), [("sophia", "sophia"), ("sophiah", "sophiah"), ("sophiah", "Sophia-H")])
def test_a_stranger_s_name_that_is_a_name_or_an_alias_of_ours(site, name, asked):
    first_party(site)
    site.install("acme", spec(name, target="torch.optim:Adam"))
    text = error_text(errors.AmbiguousName, optim_core.get, asked)
    assert text == (
        f"{asked!r} comes from 'acme' (acme-optim 1.0) and 'second_order' ({OURS} 1.0). "
        f"Ask for 'acme:{name}' or 'second_order:sophiah'; or say which one it means, "
        f"export OPTIM_CORE_PREFER=acme:{name} or optim_core.prefer('acme:{name}')"
    )
    assert optim_core.get(f"acme:{name}").__name__ == "Adam"
    assert optim_core.get("second_order:sophia").__name__ == "SGD"
    assert f"{name!r} comes from 'acme'" in problem(site)
    assert f"acme:{name}" in optim_core.get_supported_optimizers()


def test_a_stranger_s_alias_that_is_a_name_of_ours_means_ours(site):
    first_party(site)
    site.install("acme", spec("other", aliases=("sophiah",)))
    assert optim_core.info("sophiah").name == "sophiah"
    assert doctor(site, code=0)[-1].startswith("Nothing is wrong from outside.")


def test_a_stranger_s_alias_that_is_an_alias_of_ours(site):
    first_party(site)
    site.install("acme", spec("other", aliases=("sophia",)))
    assert "'acme:other' or 'second_order:sophiah'" in error_text(errors.AmbiguousName, optim_core.get, "sophia")
    assert "'sophia' comes from" in problem(site)


def test_nobody_steps_in_for_a_broken_pack_of_ours(site):
    site.install("second_order", manifest="1/0", distribution=OURS)
    site.install("acme", spec("sophia"))
    with pytest.warns(errors.PackWarning):
        site.registry()
    text = error_text(errors.PackBroken, optim_core.get, "sophia")
    assert "Of other packs there is 'acme:sophia'" in text
    assert optim_core.get("acme:sophia")


# settings -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("OPTIM_CORE_PACKS", "good,goof", "names 'goof', and no such pack is installed. Did you mean 'good'?"),
        ("OPTIM_CORE_DISABLE", "goof", "OPTIM_CORE_DISABLE names 'goof', and no such pack is installed."),
        ("OPTIM_CORE_STRICT", "no", "OPTIM_CORE_STRICT=no counts as 1"),
        ("OPTIM_CORE_ENGINE", "nativ", "=nativ is not one of auto, eager, native, triton. Did you mean 'native'?"),
        ("OPTIM_CORE_LICENCE_DENY", "MIT", "is not a variable of optim-core. Did you mean 'OPTIM_CORE_LICENSE_DENY'?"),
    ],
)  # fmt: skip
def test_a_setting_that_names_nothing_is_told_once(good, monkeypatch, variable, value, told):
    monkeypatch.setenv(variable, value)
    with pytest.warns(errors.SettingWarning) as warned:
        good.registry()
    assert len(warned) == 1
    assert told in str(warned[0].message)
    good.registry()
    assert any(line.startswith("note: ") and told in line for line in doctor(good, code=0))


def test_packs_of_ours_may_be_switched_off_where_they_are_not_installed(good, monkeypatch):
    monkeypatch.setenv("OPTIM_CORE_DISABLE", "noncommercial")
    good.registry()


def test_engines_are_those_that_exist():
    from optim_core.catalog.settings import ENGINES
    from optim_core.engines.choice import NAMES

    assert ENGINES == NAMES


@pytest.mark.parametrize("variable", ["OPTIM_CORE_LICENSE_DENY", "OPTIM_CORE_LICENSE_ALLOW"])
def test_doctor_tells_of_a_policy_that_names_nothing(good, monkeypatch, variable):
    monkeypatch.setenv(variable, "GPL")
    assert f"{variable}: 'GPL' is not an SPDX licence." in problem(good)


def test_doctor_works_where_broken_packs_are_not_accepted(good, monkeypatch):
    good.install("bad", manifest="1/0")
    monkeypatch.setenv("OPTIM_CORE_STRICT", "1")
    assert "pack 'bad'" in problem(good)


# packs that go ---------------------------------------------------------------------------------------------------
def uninstall(site: Site, pack: str, *, metadata: bool) -> None:
    """Remove a pack's package as pip does, and its metadata unless that is left behind."""
    import shutil

    shutil.rmtree(site.root / f"fake_{pack}_optim")
    if metadata:
        shutil.rmtree(site.root / f"{pack}_optim-1.0.dist-info")
    for name in [name for name in sys.modules if name.startswith(f"fake_{pack}_optim")]:
        del sys.modules[name]


@pytest.mark.parametrize("metadata", [True, False])
def test_a_pack_that_is_uninstalled_between_two_calls(good, metadata):
    good.install("going", spec("lynx", target="fake_going_optim.lynx:Lynx"),
                 modules={"lynx": "from torch.optim import SGD as Lynx"})  # fmt: skip
    assert optim_core.info("lynx").name == "lynx"
    uninstall(good, "going", metadata=metadata)
    text = error_text(errors.PackBroken, optim_core.get, "lynx")
    assert text.startswith("'lynx' cannot be loaded from fake_going_optim.lynx:Lynx: ModuleNotFoundError: ")
    assert "Reinstall the distribution that holds fake_going_optim" in text
    assert optim_core.get("lion")
    if metadata:
        good.registry()
        error_text(errors.UnknownName, optim_core.get, "lynx")
        assert doctor(good, code=0)[-1].startswith("Nothing is wrong from outside.")
    else:
        with pytest.warns(errors.PackWarning, match="pack 'going'"):
            good.registry()
        assert "pack 'going' (going-optim 1.0) failed to load (import: ModuleNotFoundError" in problem(good)
    assert optim_core.get("lion")


@pytest.mark.parametrize("declared", ["Apache-2.0", "MIT AND Apache-2.0"])
def test_a_licence_that_differs_from_the_distribution_s(good, declared):
    good.install("bad", spec("lynx", target="fake_bad_optim.x:X", license="GPL-3.0-only"), licence=declared)
    with pytest.warns(errors.PackWarning, match="'lynx' is GPL-3.0-only, but the distribution declares"):
        good.registry()
    assert "'lynx' is GPL-3.0-only, but the distribution declares" in problem(good)
    assert optim_core.get("lion")
