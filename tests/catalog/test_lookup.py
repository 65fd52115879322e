"""Names: forms of them, what they find, and what is said of those that find nothing."""

from __future__ import annotations

import sys

import pytest
import torch
from support.fake_packs import error_text, spec

import optim_core
from optim_core import api, errors
from optim_core.catalog.specs import SchedulerSpec, WrapperSpec

SCHEDULER = SchedulerSpec(name="ramp", target="torch.optim.lr_scheduler:LinearLR", summary="Up.", license="MIT")
WRAPPER = WrapperSpec(name="lookahead", target="builtins:dict", summary="Back.", license="MIT")


# names that lead somewhere ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name", ["lion_x", "LionX", "lion-x", "li.on x", "sign:lionx", "SIGN:Lion-X", "king", "sign:king"]
)
def test_forms_of_a_name(site, name):
    site.install("sign", spec("lion_x", aliases=("king",)), distribution="optim-core-sign")
    assert optim_core.info(name).name == "lion_x"
    assert optim_core.get(name).__name__ == "SGD"


def test_an_alias_never_shadows_a_name(site):
    site.install("a", spec("other", aliases=("lion",)))
    site.install("b", spec("lion", summary="The real one."))
    assert optim_core.info("lion").summary == "The real one."
    assert optim_core.info("a:lion").name == "other"


def test_the_kind_asked_for_wins(site):
    site.install("a", spec("ramp"))
    site.install("b", SCHEDULER)
    assert optim_core.get("ramp").__name__ == "SGD"
    assert optim_core.get_scheduler("ramp").__name__ == "LinearLR"
    assert "'a:ramp' or 'b:ramp'" in error_text(errors.AmbiguousName, optim_core.info, "ramp")
    assert optim_core.info("ramp", kind="scheduler") == SCHEDULER


def test_names_known_from_pytorch_optimizer(site):
    site.install("a", spec("lion"), spec("adamw"), SCHEDULER)
    assert optim_core.load_optimizer(optimizer="lion") is optim_core.get("lion")
    assert optim_core.get_supported_optimizers() == ["adamw", "lion"]
    assert optim_core.get_supported_optimizers("Adam*") == ["adamw"]
    assert optim_core.get_supported_optimizers(["l*", "x"]) == ["lion"]
    assert optim_core.get_supported_lr_schedulers() == ["ramp"]


def test_a_module_is_imported_when_its_class_is_asked_for(site):
    package = site.install(
        "a",
        spec("one", target="fake_a_optim.one:One"),
        spec("two", target="fake_a_optim.two:Two"),
        modules={"one": "import torch\nclass One(torch.optim.SGD): pass", "two": "raise RuntimeError('too early')"},
    )
    assert optim_core.find("one")
    assert f"{package}.one" not in sys.modules
    assert optim_core.get("one").__name__ == "One"
    assert f"{package}.two" not in sys.modules


def test_licence_and_version_come_from_the_metadata(site):
    site.install("a", spec(license="MIT"), licence="MIT AND Apache-2.0", version="0.3")
    (pack,) = site.registry().packs
    assert (pack.distribution, pack.version, pack.license) == ("a-optim", "0.3", "MIT AND Apache-2.0")
    assert str(pack) == "'a' (a-optim 0.3)"


# find -----------------------------------------------------------------------------------------------------------
def test_find(site):
    site.install("a", spec("adam"), spec("adan", needs=("closure", "loss")), SCHEDULER)
    site.install("b", spec("lion", aliases=("adlion",), license="CC-BY-NC-4.0"), WRAPPER, licence=None)

    def found(*arguments, **keywords):
        return [s.name for s in optim_core.find(*arguments, **keywords)]

    assert found() == ["adam", "adan", "ramp", "lion", "lookahead"]
    assert found("AD*") == ["adam", "adan", "lion"]
    assert found(pack="B") == ["lion", "lookahead"]
    assert found(kind="scheduler") == ["ramp"]
    assert found(license="mit") == ["adam", "adan", "ramp", "lookahead"]
    assert found(license="noncommercial") == ["lion"]
    assert found(needs="closure") == found(needs=("closure", "loss")) == ["adan"]


def test_find_refuses_what_it_does_not_know(site):
    assert "needs='closur' is not one of" in error_text(errors.InvalidOption, optim_core.find, needs="closur")
    text = error_text(errors.InvalidOption, optim_core.find, kind="optimiser")
    assert text == "kind='optimiser' is not one of optimizer, scheduler, wrapper. Did you mean 'optimizer'?"


# names that do not ----------------------------------------------------------------------------------------------
def test_unknown_name(site):
    site.install("a", spec("sofia"), SCHEDULER)
    site.install("b", manifest="1/0")
    with pytest.warns(errors.PackWarning):
        text = error_text(errors.UnknownName, optim_core.get, "soffia")
    assert text == (
        "no optimizer 'soffia'. Did you mean 'sofia'? "
        "(`optim-core list` shows 2; 1 pack failed to load: `optim-core doctor`)"
    )


def test_unknown_name_that_is_near_one_of_ours_that_is_not_installed(site):
    assert "Did you mean 'adahessian'?" in error_text(errors.UnknownName, optim_core.get, "adahesian")


def test_unknown_name_in_a_pack(site, monkeypatch):
    site.install("acme", spec("lion"))
    site.install("off", spec("tiger"))
    monkeypatch.setenv("OPTIM_CORE_DISABLE", "off")
    text = error_text(errors.UnknownName, optim_core.info, "acme:lyon")
    assert text == (
        "no method 'lyon' in pack 'acme'. Did you mean 'lion'? "
        "(`optim-core list` shows 1; 1 pack is switched off by OPTIM_CORE_DISABLE)"
    )


def test_unknown_pack(site):
    site.install("acme", spec("lion"))
    assert error_text(errors.UnknownName, optim_core.get, "acne:lion") == (
        "no pack 'acne'. Did you mean 'acme'? Installed: acme"
    )
    assert "no pack 'x'" in error_text(errors.UnknownName, optim_core.find, pack="x")


def test_not_installed(site):
    command = 'pip install "optim-core[second-order]"'
    assert error_text(errors.PackNotInstalled, optim_core.get, "Sophia") == (
        f"'Sophia' is in optim-core-second-order, which is not installed: {command}"
    )
    assert error_text(errors.PackNotInstalled, optim_core.get, "second-order:sophia") == (
        f"the pack 'second_order' is not installed: {command}"
    )


def test_in_a_newer_version_of_the_pack(site):
    site.install("sign", spec("signsgd"), distribution="optim-core-sign")
    assert error_text(errors.PackNotInstalled, optim_core.get, "lion") == (
        "'lion' is in a newer optim-core-sign than the one installed: pip install --upgrade \"optim-core[sign]\""
    )


def test_claimed_twice(site):
    site.install("sign", spec("lion"), distribution="optim-core-sign")
    site.install("acme", spec("Lion".lower()), version="0.3")
    assert error_text(errors.AmbiguousName, optim_core.get, "lion") == (
        "'lion' comes from 'acme' (acme-optim 0.3) and 'sign' (optim-core-sign 1.0). Ask for 'acme:lion' or "
        "'sign:lion'; or say which one it means, export OPTIM_CORE_PREFER=acme:lion or optim_core.prefer('acme:lion')"
    )
    assert optim_core.get("acme:lion")
    assert optim_core.get_supported_optimizers() == ["acme:lion", "sign:lion"]


def test_alias_claimed_twice(site):
    site.install("a", spec("one", aliases=("x",)))
    site.install("b", spec("two", aliases=("x",)))
    assert "Ask for 'a:one' or 'b:two'" in error_text(errors.AmbiguousName, optim_core.get, "x")


@pytest.mark.parametrize(
    ("call", "name", "text"),
    [
        (api.get, "lookahead", "'lookahead' is a wrapper, not an optimizer: optim_core.get_wrapper('lookahead')"),
        (api.get, "ramp", "'ramp' is a scheduler, not an optimizer: optim_core.get_scheduler('ramp')"),
        (api.get_wrapper, "a:lion", "'a:lion' is an optimizer, not a wrapper: optim_core.get('a:lion')"),
        (api.get_scheduler, "lion", "'lion' is an optimizer, not a scheduler: optim_core.get('lion')"),
    ],
)
def test_another_kind(site, call, name, text):
    site.install("a", spec("lion"), SCHEDULER, WRAPPER)
    assert error_text(errors.WrongKind, call, name) == text


def test_a_class_that_is_missing(site):
    package = site.install("a", spec("lion", target="fake_a_optim.lion:Lion"), modules={"lion": ""})
    text = error_text(errors.PackBroken, optim_core.get, "lion")
    assert text.startswith(f"'lion' cannot be loaded from {package}.lion:Lion: AttributeError: ")
    assert text.endswith(f"Reinstall the distribution that holds {package}, or ask its authors")


def test_a_class_of_another_kind(site):
    site.install("a", spec("lion", target="builtins:dict"))
    assert error_text(errors.PackBroken, optim_core.get, "lion") == (
        "'a:lion': builtins:dict is not an optimizer. Report it to the authors of 'a' (a-optim 1.0)"
    )


def test_a_class_of_torchs_is_under_torchs_licence_whatever_the_packs_is(site):
    site.install("a", spec("sgd", license="BSD-3-Clause"), licence="MIT")
    assert not site.registry().failures
    assert optim_core.info("sgd").license == "BSD-3-Clause"


# torch's own ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["torch:asgd", "Torch:ASGD", "torch: a_sgd"])
def test_torch_optimizers(site, name):
    assert optim_core.get(name).__name__ == "ASGD"


def test_torch_schedulers(site):
    assert optim_core.get_scheduler("torch:reduce_lr_on_plateau").__name__ == "ReduceLROnPlateau"


def test_torch_has_no_such_class(site):
    text = error_text(errors.UnknownName, optim_core.get, "torch:adamm")
    assert text.startswith("torch.optim has no optimizer 'adamm'. Did you mean 'Adam'")
    assert "It has: ASGD, Adadelta" in text
    text = error_text(errors.UnknownName, optim_core.get_scheduler, "torch:step")
    assert text.startswith("torch.optim.lr_scheduler has no scheduler 'step'.")
    assert "Optimizer" not in error_text(errors.UnknownName, optim_core.get, "torch:optimizer").partition("It has")[2]


def test_torch_has_no_wrappers_and_no_specs(site):
    assert "torch has no wrappers" in error_text(errors.WrongKind, optim_core.get_wrapper, "torch:adam")
    assert "torch's own classes have no spec" in error_text(errors.UnknownName, optim_core.info, "torch:adam")


def test_a_plain_name_is_never_torchs_but_a_hint_names_it(site, monkeypatch):
    monkeypatch.setattr(torch.optim, "Descent", type("Descent", (torch.optim.SGD,), {}), raising=False)
    assert error_text(errors.UnknownName, optim_core.get, "descent").endswith(". torch's own is torch:Descent")
