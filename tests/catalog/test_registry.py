from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support.fake_packs import manifest_module, manifest_text, spec

import optim_core
from optim_core import api, errors
from optim_core.catalog import registry as registry_module
from optim_core.catalog.registry import register_pack, registry
from optim_core.catalog.specs import SchedulerSpec, WrapperSpec

SCHEDULER = SchedulerSpec(name="ramp", target="torch.optim.lr_scheduler:LinearLR", summary="Up.", license="MIT")
WRAPPER = WrapperSpec(name="lookahead", target="builtins:dict", summary="Back.", license="MIT")


def message(error, call, *arguments, **keywords):
    with pytest.raises(error) as raised:
        call(*arguments, **keywords)
    assert type(raised.value) is error
    return str(raised.value)


# names that lead somewhere ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["lion_x", "LionX", "lion-x", "li.on x", "sign:lionx", "SIGN:Lion-X", "king", "sign:king"]
)
def test_forms_of_a_name(world, name):
    world.install("sign", spec("lion_x", aliases=("king",)))
    assert optim_core.info(name).name == "lion_x"
    assert optim_core.get(name).__name__ == "SGD"


def test_an_alias_never_shadows_a_name(world):
    world.install("a", spec("other", aliases=("lion",)))
    world.install("b", spec("lion", summary="The real one."))
    assert optim_core.info("lion").summary == "The real one."
    assert optim_core.info("a:lion").name == "other"


def test_the_kind_asked_for_wins(world):
    world.install("a", spec("ramp"))
    world.install("b", SCHEDULER)
    assert optim_core.get("ramp").__name__ == "SGD"
    assert optim_core.get_scheduler("ramp").__name__ == "LinearLR"
    assert "'a:ramp' or 'b:ramp'" in message(errors.AmbiguousName, optim_core.info, "ramp")
    assert optim_core.info("ramp", kind="scheduler") == SCHEDULER


def test_names_known_from_pytorch_optimizer(world):
    world.install("a", spec("lion"), spec("adamw"), SCHEDULER)
    assert optim_core.load_optimizer(optimizer="lion") is optim_core.get("lion")
    assert optim_core.get_supported_optimizers() == ["adamw", "lion"]
    assert optim_core.get_supported_optimizers("Adam*") == ["adamw"]
    assert optim_core.get_supported_optimizers(["l*", "x"]) == ["lion"]
    assert optim_core.get_supported_lr_schedulers() == ["ramp"]


def test_a_module_is_imported_when_its_class_is_asked_for(world):
    package = world.install(
        "a",
        spec("one", target="world_a_optim.one:One"),
        spec("two", target="world_a_optim.two:Two"),
        modules={"one": "import torch\nclass One(torch.optim.SGD): pass", "two": "raise RuntimeError('too early')"},
    )
    assert optim_core.find("one")
    assert f"{package}.one" not in sys.modules
    assert optim_core.get("one").__name__ == "One"
    assert f"{package}.two" not in sys.modules


def test_licence_and_version_come_from_the_metadata(world):
    world.install("a", spec(license="MIT"), licence="MIT AND Apache-2.0", version="0.3")
    (pack,) = world.registry().packs
    assert (pack.distribution, pack.version, pack.license) == ("a-optim", "0.3", "MIT AND Apache-2.0")
    assert str(pack) == "'a' (a-optim 0.3)"


# find -----------------------------------------------------------------------------------------------------------


def test_find(world):
    world.install("a", spec("adam"), spec("adan", needs=("closure", "loss")), SCHEDULER)
    world.install("b", spec("lion", aliases=("adlion",), license="CC-BY-NC-4.0"), WRAPPER, licence=None)

    def found(*arguments, **keywords):
        return [s.name for s in optim_core.find(*arguments, **keywords)]

    assert found() == ["adam", "adan", "ramp", "lion", "lookahead"]
    assert found("AD*") == ["adam", "adan", "lion"]
    assert found(pack="B") == ["lion", "lookahead"]
    assert found(kind="scheduler") == ["ramp"]
    assert found(license="mit") == ["adam", "adan", "ramp", "lookahead"]
    assert found(license="noncommercial") == ["lion"]
    assert found(needs="closure") == found(needs=("closure", "loss")) == ["adan"]


def test_find_refuses_what_it_does_not_know(world):
    assert "needs='closur' is not one of" in message(errors.InvalidOption, optim_core.find, needs="closur")
    text = message(errors.InvalidOption, optim_core.find, kind="optimiser")
    assert text == "kind='optimiser' is not one of optimizer, scheduler, wrapper. Did you mean 'optimizer'?"


# names that do not ----------------------------------------------------------------------------------------------


def test_unknown_name(world):
    world.install("a", spec("sofia"), SCHEDULER)
    world.install("b", manifest="1/0")
    with pytest.warns(errors.PackWarning):
        text = message(errors.UnknownName, optim_core.get, "soffia")
    assert text == (
        "no optimizer 'soffia'. Did you mean 'sofia'? "
        "(`optim-core list` shows 2; 1 pack failed to load: `optim-core doctor`)"
    )


def test_unknown_name_that_is_near_one_of_ours_that_is_not_installed(world):
    assert "Did you mean 'adahessian'?" in message(errors.UnknownName, optim_core.get, "adahesian")


def test_unknown_name_in_a_pack(world, monkeypatch):
    world.install("acme", spec("lion"))
    world.install("off", spec("tiger"))
    monkeypatch.setenv("OPTIM_CORE_DISABLE", "off")
    text = message(errors.UnknownName, optim_core.info, "acme:lyon")
    assert text == (
        "no method 'lyon' in pack 'acme'. Did you mean 'lion'? "
        "(`optim-core list` shows 1; 1 pack is switched off by OPTIM_CORE_DISABLE)"
    )


def test_unknown_pack(world):
    world.install("acme", spec("lion"))
    assert message(errors.UnknownName, optim_core.get, "acne:lion") == (
        "no pack 'acne'. Did you mean 'acme'? Installed: acme"
    )
    assert "no pack 'x'" in message(errors.UnknownName, optim_core.find, pack="x")


def test_not_installed(world):
    command = 'pip install "optim-core[second-order]"'
    assert message(errors.PackNotInstalled, optim_core.get, "Sophia") == (
        f"'Sophia' is in optim-core-second-order, which is not installed: {command}"
    )
    assert message(errors.PackNotInstalled, optim_core.get, "second-order:sophia") == (
        f"the pack 'second_order' is not installed: {command}"
    )


def test_in_a_newer_version_of_the_pack(world):
    world.install("sign", spec("signsgd"))
    assert message(errors.PackNotInstalled, optim_core.get, "lion") == (
        "'lion' is in a newer optim-core-sign than the one installed: pip install --upgrade \"optim-core[sign]\""
    )


def test_claimed_twice(world):
    world.install("sign", spec("lion"))
    world.install("acme", spec("Lion".lower()), version="0.3")
    assert message(errors.AmbiguousName, optim_core.get, "lion") == (
        "'lion' comes from 'acme' (acme-optim 0.3) and 'sign' (sign-optim 1.0). Ask for 'acme:lion' or 'sign:lion'"
    )
    assert optim_core.get("acme:lion")
    assert optim_core.get_supported_optimizers() == ["acme:lion", "sign:lion"]


def test_alias_claimed_twice(world):
    world.install("a", spec("one", aliases=("x",)))
    world.install("b", spec("two", aliases=("x",)))
    assert "Ask for 'a:one' or 'b:two'" in message(errors.AmbiguousName, optim_core.get, "x")


@pytest.mark.parametrize(
    ("call", "name", "text"),
    [
        (api.get, "lookahead", "'lookahead' is a wrapper, not an optimizer: optim_core.get_wrapper('lookahead')"),
        (api.get, "ramp", "'ramp' is a scheduler, not an optimizer: optim_core.get_scheduler('ramp')"),
        (api.get_wrapper, "a:lion", "'a:lion' is an optimizer, not a wrapper: optim_core.get('a:lion')"),
        (api.get_scheduler, "lion", "'lion' is an optimizer, not a scheduler: optim_core.get('lion')"),
    ],
)
def test_another_kind(world, call, name, text):
    world.install("a", spec("lion"), SCHEDULER, WRAPPER)
    assert message(errors.WrongKind, call, name) == text


def test_a_class_that_is_missing(world):
    package = world.install("a", spec("lion", target="world_a_optim.lion:Lion"), modules={"lion": ""})
    text = message(errors.PackBroken, optim_core.get, "lion")
    assert text.startswith(f"'lion' cannot be loaded from {package}.lion:Lion: AttributeError: ")
    assert text.endswith(f"Reinstall the distribution that holds {package}, or ask its authors")


def test_a_class_of_another_kind(world):
    world.install("a", spec("lion", target="builtins:dict"))
    assert message(errors.PackBroken, optim_core.get, "lion") == (
        "'a:lion': builtins:dict is no optimizer. Report it to the authors of 'a' (a-optim 1.0)"
    )


def test_a_class_of_torchs_is_under_torchs_licence_whatever_the_packs_is(world):
    world.install("a", spec("sgd", license="BSD-3-Clause"), licence="MIT")
    assert not world.registry().failures
    assert optim_core.info("sgd").license == "BSD-3-Clause"


# torch's own ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["torch:asgd", "Torch:ASGD", "torch: a_sgd"])
def test_torch_optimizers(world, name):
    assert optim_core.get(name).__name__ == "ASGD"


def test_torch_schedulers(world):
    assert optim_core.get_scheduler("torch:reduce_lr_on_plateau").__name__ == "ReduceLROnPlateau"


def test_torch_has_no_such_class(world):
    text = message(errors.UnknownName, optim_core.get, "torch:adamm")
    assert text.startswith("torch.optim has no optimizer 'adamm'. Did you mean 'Adam'")
    assert "It has: ASGD, Adadelta" in text
    text = message(errors.UnknownName, optim_core.get_scheduler, "torch:step")
    assert text.startswith("torch.optim.lr_scheduler has no scheduler 'step'.")
    assert "Optimizer" not in message(errors.UnknownName, optim_core.get, "torch:optimizer").partition("It has")[2]


def test_torch_has_no_wrappers_and_no_specs(world):
    assert "torch has no wrappers" in message(errors.WrongKind, optim_core.get_wrapper, "torch:adam")
    assert "torch's own classes have no spec" in message(errors.UnknownName, optim_core.info, "torch:adam")


def test_a_plain_name_is_never_torchs_but_a_hint_names_it(world):
    assert message(errors.UnknownName, optim_core.get, "rprop").endswith(". torch's own is torch:Rprop")


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
def test_a_broken_pack_is_set_aside_and_the_rest_works(world, stage):
    text, cause = BROKEN[stage]
    world.install("good", spec("lion"))
    world.install("bad", manifest=text, version="0.3")
    with pytest.warns(errors.PackWarning) as warned:
        found = world.registry()
    assert len(warned) == 1
    assert f"pack 'bad' (bad-optim 0.3) failed to load ({stage}: " in str(warned[0].message)
    assert cause in str(warned[0].message)
    (failure,) = found.failures
    assert (failure.name, failure.version, failure.stage) == ("bad", "0.3", stage)
    assert optim_core.get("lion")
    assert cause in message(errors.PackBroken, optim_core.get, "bad:lion")


def test_a_broken_pack_is_warned_about_once(world):
    world.install("bad", manifest="1/0")
    with pytest.warns(errors.PackWarning, match="pip install --upgrade --force-reinstall bad-optim") as warned:
        optim_core.find()
    assert warned[0].filename == __file__
    registry()
    world.registry()


@pytest.mark.parametrize(
    ("manifest", "text"),
    [
        (
            "def optim_core_optimizers(): return []",
            "mark the manifest's functions with optim_core.catalog.hookspecs.hookimpl",
        ),
        (
            "from optim_core.catalog import hookimpl\n@hookimpl\ndef optim_core_optimisers(): return []",
            "unknown hook 'optim_core_optimisers'",
        ),
        ("OPTIM_CORE_API = 'new'", "OPTIM_CORE_API='new' should be a whole number"),
        (manifest_text(spec("a"), spec("b", aliases=("a",))), "both 'a' and 'b' are called 'a'"),
        (
            manifest_text(spec("a", license="ISC", target="world_bad_optim.a:A")),
            "'a' is ISC, but the distribution declares MIT",
        ),
        (
            "from optim_core.catalog.specs import *\nOptimizerSpec(name='A', target='', summary='', license='')",
            "name='A'",
        ),
    ],
)
def test_what_a_manifest_may_not_do(world, manifest, text):
    world.install("bad", manifest=manifest)
    with pytest.warns(errors.PackWarning) as warned:
        world.registry()
    assert text in str(warned[0].message)


def test_a_name_of_ours_in_a_broken_pack(world):
    world.install("sign", manifest="1/0", distribution="optim-core-sign")
    with pytest.warns(errors.PackWarning):
        world.registry()
    with pytest.raises(errors.PackBroken) as raised:
        optim_core.get("lion")
    assert str(raised.value) == (
        "'lion' is in pack 'sign' (optim-core-sign 1.0), which failed to load (import: ZeroDivisionError: division by "
        "zero). Reinstall it: pip install --upgrade --force-reinstall optim-core-sign"
    )
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


def test_strict(world, monkeypatch):
    world.install("bad", manifest="1/0")
    monkeypatch.setenv("OPTIM_CORE_STRICT", "1")
    assert "pack 'bad' (bad-optim 1.0) failed to load" in message(errors.PackBroken, optim_core.find)
    monkeypatch.setenv("OPTIM_CORE_STRICT", "0")
    with pytest.warns(errors.PackWarning):
        assert optim_core.find() == []


def test_two_distributions_of_one_pack_name(world):
    world.install("acme", spec("one"), distribution="first")
    world.install("Acme", spec("two"), distribution="second", version="2.0")
    with pytest.warns(errors.PackWarning) as warned:
        found = world.registry()
    assert found.packs == ()
    assert {failure.stage for failure in found.failures} == {"name"}
    assert "neither is taken. Uninstall one of them: pip uninstall " in str(warned[0].message)
    assert all(name in str(warned[0].message) for name in ("first 1.0", "second 2.0"))


@pytest.mark.parametrize(
    ("name", "text"), [("Torch", "reserved for torch's own"), ("a,b", "a pack's name consists of")]
)
def test_names_that_a_pack_may_not_have(world, name, text):
    world.install(name, spec("lion"), distribution="x")
    with pytest.warns(errors.PackWarning, match=text):
        world.registry()


# switches -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("switch", [{"OPTIM_CORE_PACKS": "good"}, {"OPTIM_CORE_DISABLE": "other, BAD"}])
def test_switches_apply_before_anything_is_imported(world, monkeypatch, switch):
    world.install("good", spec("lion"))
    package = world.install("bad", manifest="1/0")
    for variable, value in switch.items():
        monkeypatch.setenv(variable, value)
    found = world.registry()
    assert [pack.name for pack in found.packs] == ["good"]
    assert [off.name for off in found.disabled] == ["bad"]
    assert package not in sys.modules


@pytest.mark.parametrize(
    ("variable", "value", "remedy"),
    [
        ("OPTIM_CORE_DISABLE", "sign", "Take it out: unset OPTIM_CORE_DISABLE"),
        ("OPTIM_CORE_DISABLE", "Sign,x", "Take it out: export OPTIM_CORE_DISABLE=x"),
        ("OPTIM_CORE_PACKS", "x", "Add it: export OPTIM_CORE_PACKS=x,sign"),
    ],
)
def test_a_name_in_a_pack_that_is_switched_off(world, monkeypatch, variable, value, remedy):
    world.install("sign", spec("lion"), distribution="optim-core-sign")
    monkeypatch.setenv(variable, value)
    state = f"is switched off by {variable}={value}. {remedy}"
    assert message(errors.PackDisabled, optim_core.get, "lion") == (
        f"'lion' is in pack 'sign' (optim-core-sign 1.0), which {state}"
    )
    assert message(errors.PackDisabled, optim_core.get, "sign:lion") == f"pack 'sign' (optim-core-sign 1.0) {state}"


# packs without an entry point -----------------------------------------------------------------------------------


def test_register_a_module(world):
    manifest = manifest_module(spec("lion"))
    register_pack("mine", manifest)
    register_pack("mine", manifest)
    assert optim_core.get("mine:lion") is optim_core.get("lion")
    assert [str(pack) for pack in world.registry().packs] == ["'mine'"]


def test_register_by_the_name_of_the_module(world):
    world.root.joinpath("world_mine.py").write_text(manifest_text(spec("lion")))
    register_pack("mine", "world_mine")
    assert optim_core.get("lion")


def test_register_under_a_name_that_is_taken(world):
    world.install("mine", spec("lion"))
    text = message(errors.SpecError, register_pack, "Mine", manifest_module(spec("tiger")))
    assert text == "there is a pack 'Mine' already. Register this one under another name"


def test_register_what_does_not_work(world):
    text = message(errors.PackBroken, register_pack, "mine", "world_nowhere")
    assert text == ("pack 'mine' failed to load (import: ModuleNotFoundError: No module named 'world_nowhere')")
    assert registry_module.registry().packs == ()


# a real process -------------------------------------------------------------------------------------------------


def test_entry_points_of_an_installed_distribution(world):
    world.install("acme", spec("acme_lion"), distribution="acme-optim")
    code = "import optim_core; print(optim_core.info('acme:acme-lion').summary)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(world.root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "Steps.\n"
