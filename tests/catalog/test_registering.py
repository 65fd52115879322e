"""`optim_core.register`: a class gets a name without a pack, after the checks that packs go through."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from support.fake_packs import error_text, spec
from torch import nn

import optim_core
from optim_core import errors
from optim_core.optimizers import needs_of


def ocelot(text: str = "Ocelot.") -> type[torch.optim.SGD]:
    return type("Ocelot", (torch.optim.SGD,), {"__doc__": text, "__qualname__": "Ocelot"})


class Halved(optim_core.RuleOptimizer):
    """Half of the gradient.

    And more of the text.
    """

    lr: float = optim_core.hyper(0.1, "step size", ge=0)
    several: int = optim_core.hyper(2, "how many", ge=1)

    average = optim_core.state("average")
    rows = optim_core.state("rows", level="row")
    more = optim_core.state("more", copies="several")
    never = optim_core.state("never", when="maximize")

    @staticmethod
    def rule(p, g, average, rows, more, never, *, lr):
        return p - lr * g / 2, average, rows, more, never


def test_a_decorator(site):
    @optim_core.register(license="MIT", name="my_ocelot", aliases=("mo",), needs=("loss",))
    class Ocelot(torch.optim.SGD):
        """Steps."""

    assert optim_core.get("My-Ocelot") is optim_core.get("mo") is optim_core.get("local:mo") is Ocelot
    found = optim_core.info("mo")
    assert (found.name, found.license, found.summary, found.needs) == ("my_ocelot", "MIT", "Steps.", ("loss",))
    assert optim_core.find(pack="local") == [found]
    assert needs_of(Ocelot([nn.Parameter(torch.ones(1))])) == {"loss"}


def test_a_function_and_what_follows_from_the_class(site):
    assert optim_core.register(Halved, license="Apache-2.0") is Halved
    found: Any = optim_core.info("halved")
    assert found.summary == "Half of the gradient."
    assert found.state == {"average": "element", "rows": "row", "more": "2 element"}
    model = nn.Linear(2, 1)
    optimizer = optim_core.create_optimizer(model, "halved")
    assert optim_core.explain(optimizer).rows[0].method == "Halved"


def test_wrappers_and_schedulers(site):
    class Quiet(optim_core.Wrapper):
        """Does nothing."""

    class Level(torch.optim.lr_scheduler.LambdaLR):
        """Always the same."""

    def around(optimizer: Any) -> Any:
        """Not even a class."""
        return optimizer

    class Plain(torch.optim.SGD):
        """Around another."""

    optim_core.register(Quiet, license="MIT")
    optim_core.register(Level, license="MIT", sets="lr")
    optim_core.register(around, license="MIT")
    optim_core.register(Plain, license="MIT", kind="wrapper", base="params_and_class")
    assert issubclass(optim_core.get_scheduler("level"), Level)
    assert optim_core.get_wrapper("quiet") is Quiet
    assert optim_core.get_wrapper("around") is around
    assert optim_core.info("plain").kind == "wrapper"
    model = nn.Linear(2, 1)
    assert type(optim_core.create_optimizer(model, "torch:sgd", wrappers=["quiet", "around"])) is Quiet


def test_what_is_defined_again_at_the_same_place_replaces_the_former(site):
    first, second, third = ocelot("First."), ocelot("Second."), ocelot("Third.")
    optim_core.register(first, license="MIT")
    optim_core.register(second, license="MIT")
    assert optim_core.get("ocelot") is second
    optim_core.register(third, license="BSD-3-Clause", name="renamed")
    assert optim_core.get("renamed") is third
    assert optim_core.info("renamed").license == "BSD-3-Clause"
    error_text(errors.UnknownName, optim_core.get, "ocelot")


def test_what_fails_leaves_the_former_in_place(site):
    first = ocelot()
    optim_core.register(first, license="MIT")
    error_text(errors.SpecError, optim_core.register, ocelot(), license="none at all")
    error_text(errors.SpecError, optim_core.register, ocelot(), license="MIT", name="adamw")
    assert optim_core.get("ocelot") is first


def test_it_outlives_a_search_for_packs_and_the_packs_work_on(site):
    site.install("good", spec("puma"))
    optim_core.register(ocelot(), license="MIT")
    site.registry()
    assert optim_core.get("ocelot")
    assert optim_core.get("puma") is torch.optim.SGD
    site.install("late", spec("ocelot"))
    site.registry()
    assert "'late' (late-optim 1.0) and 'local'" in error_text(errors.AmbiguousName, optim_core.get, "ocelot")
    optim_core.prefer("local:ocelot")
    assert optim_core.get("ocelot").__name__ == "Ocelot"


@pytest.mark.parametrize("name", ["lion", "Sophia".lower(), "adam_w"])
def test_names_of_ours_are_never_taken_not_even_where_they_are_not_installed(site, name):
    for fields in ({"name": name}, {"aliases": (name,)}):
        text = error_text(errors.SpecError, optim_core.register, ocelot(), license="MIT", **fields)
        assert f"the name {name!r} belongs to the method" in text
        assert "give Ocelot another, name='my_" in text


def test_names_of_others_are_not_taken(site):
    site.install("acme", spec("puma", aliases=("ocelot",)))
    site.registry()
    text = error_text(errors.SpecError, optim_core.register, ocelot(), license="MIT")
    assert text == "the name 'ocelot' belongs to 'acme:puma': give Ocelot another, name='my_ocelot'"
    optim_core.register(ocelot(), license="MIT", name="my_ocelot")
    other = type("Lynx", (torch.optim.SGD,), {"__qualname__": "Lynx"})
    assert "'local:my_ocelot'" in error_text(
        errors.SpecError, optim_core.register, other, license="MIT", name="myocelot"
    )


@pytest.mark.parametrize(
    ("cls", "fields", "told"),
    [
        (ocelot(), {"license": "free for all"}, "license='free for all' should be an SPDX expression"),
        (ocelot(), {"name": "A b"}, "name='A b' should be lower-case letters"),
        (ocelot(), {"aliases": "cat"}, "aliases='cat' should be a tuple of texts"),
        (ocelot(), {"needs": ("losses",)}, "needs='losses' should be one of"),
        (ocelot(), {"kind": "scheduler"}, "Ocelot is not a scheduler: leave out kind='scheduler'"),
        (ocelot(), {"kind": "optimiser"}, "kind='optimiser' is not one of optimizer, scheduler, wrapper. Did you mean"),
        (dict, {}, "dict is neither an optimizer nor a scheduler"),
        (5, {}, "register takes a class, not 5"),
        (Halved, {"needs": ("loss",)}, "leave needs out, it follows from the class"),
    ],
)
def test_what_is_wrong_is_refused(site, cls, fields, told):
    assert told in error_text(errors.SpecError, optim_core.register, cls, **{"license": "MIT", **fields})
    assert not optim_core.find()


def test_a_field_that_does_not_exist(site):
    text = error_text(errors.UnknownOption, optim_core.register, ocelot(), license="MIT", alias=("a",))
    assert text.startswith("an optimizer has no field 'alias'. Did you mean 'aliases'? It has: ")


def test_a_state_whose_size_does_not_follow(site):
    class Shaped(optim_core.RuleOptimizer):
        lr: float = optim_core.hyper(0.1, "step size", ge=0)
        q = optim_core.state("q", shape=lambda shape, group: shape[:1])

    text = error_text(errors.SpecError, optim_core.register, Shaped, license="MIT")
    assert "give state={'q': 'element', ...}" in text
    optim_core.register(Shaped, license="MIT", state={"q": "row"})


def test_the_policy_and_the_warning_hold(site):
    optim_core.register(ocelot(), license="CC-BY-NC-4.0")
    with pytest.warns(optim_core.NonCommercialWarning, match=r"'ocelot' \(pack local\)"):
        optim_core.get("ocelot")
    optim_core.licenses.policy(deny="noncommercial")
    error_text(errors.LicenseNotAllowed, optim_core.get, "ocelot")


def test_a_module_that_no_import_finds(site, monkeypatch):
    cls = ocelot()
    cls.__module__ = "my-script"
    optim_core.register(cls, license="MIT")
    assert optim_core.get("ocelot") is cls


def test_nobody_may_call_a_pack_so(site):
    site.install("local", spec("ocelot"))
    with pytest.warns(errors.PackWarning, match=r"'local' is reserved for what optim_core\.register adds"):
        site.registry()


def test_a_cell_that_is_run_twice(site):
    cell = "import torch, optim_core\n@optim_core.register(license='MIT')\nclass Cell(torch.optim.SGD): 'In a cell.'"
    notebook = ModuleType("fake_notebook")
    sys.modules["fake_notebook"] = notebook
    for _ in range(2):
        exec(cell, vars(notebook))  # noqa: S102 - our own text
        assert optim_core.get("cell") is notebook.Cell  # type: ignore[attr-defined]
