"""What people type by habit gets the way on, and every remedy in a message works when it is carried out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from support import ROOT
from support.wrappers import base_only_specs, required_options
from torch import nn

import optim_core
from optim_core import habits
from optim_core.catalog import known
from optim_core.catalog.registry import registry
from optim_core.cli.app import app
from optim_core.compare import plan
from optim_core.compare.contender import parse
from optim_core.errors import NotOffered, OptimCoreError, UnknownOption

CALL = re.compile(r"optim_core\.\w+\(")
LIST = re.compile(r"wrappers=(\[[^]]*\])")
COMMAND = re.compile(r"optim-core( [a-z][-\w ]*)")
IMPORT = re.compile(r"from [\w.]+ import \w+")


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2), nn.Linear(2, 1))


def expressions(text: str) -> Iterator[str]:
    """The calls of optim_core's functions in a text, each to its last bracket."""
    end = 0
    for found in CALL.finditer(text):
        if found.start() < end:
            continue  # inside the last one
        depth, end = 1, found.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        while text[end : end + 1] == "(":  # the class is called at once
            end = text.index(")", end) + 1
            while text[found.start() : end].count("(") > text[found.start() : end].count(")"):
                end = text.index(")", end) + 1
        yield text[found.start() : end]


def carry_out(text: str) -> int:
    """Do what a message says; returns how many remedies it has."""
    scope = {"optim_core": optim_core, "model": model()}
    calls = list(expressions(text))
    for call in calls:
        result = eval(call, scope)  # noqa: S307 - our own text
        assert result is not None
        if isinstance(result, torch.optim.Optimizer):
            optim_core.minimize(result, lambda: scope["model"](torch.ones(4, 3)).square().mean())
    outside = re.sub("|".join(map(re.escape, calls)) or "$^", "", text)
    lists = LIST.findall(outside)
    for choices in lists:
        optim_core.create_optimizer(model(), "adamw", wrappers=eval(choices))  # noqa: S307
    imports = IMPORT.findall(text)
    for line in imports:
        exec(line, {})  # noqa: S102
    commands = COMMAND.findall(text)
    for command in commands:
        assert CliRunner().invoke(app, command.split()).exit_code == 0, command
    return len(calls) + len(lists) + len(imports) + len(commands)


def message(call: Callable[[], Any]) -> str:
    with pytest.raises((OptimCoreError, AttributeError, ImportError)) as raised:
        call()
    return str(raised.value)


# names that are not there ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", habits.FUNCTIONS)
def test_functions_of_other_libraries(name: str) -> None:
    text = message(lambda: getattr(optim_core, name))
    assert carry_out(text) == 1
    assert not hasattr(optim_core, name)


@pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")
def test_every_class_of_a_pack() -> None:
    for entry in registry().entries:
        name = entry.spec.class_name
        text = message(lambda name=name: getattr(optim_core, name))
        assert carry_out(text) == 2, text
        assert not hasattr(optim_core, name)


def import_it(name: str) -> None:
    exec(f"from optim_core import {name}", {})  # noqa: S102


@pytest.mark.parametrize("name", ["AdamP", "SAM", "create_optimizer_v2"])
def test_the_way_survives_an_import(name: str) -> None:
    with pytest.raises(ImportError) as raised:
        import_it(name)
    assert raised.value.name == name
    assert carry_out(str(raised.value)) > 0


def test_a_class_of_a_pack_that_is_not_installed(site) -> None:
    text = message(lambda: optim_core.AdamP)
    assert 'Install its pack: pip install "optim-core[adaptive]", then optim_core.get("adamp")' in text.replace(
        "'", '"'
    )


def test_near_names_and_none() -> None:
    assert "Did you mean 'create_optimizer'" in message(lambda: optim_core.creat_optimizer)
    assert message(lambda: optim_core.qqqqqqqq) == "module 'optim_core' has no attribute 'qqqqqqqq'"
    import_it("schedules")  # a module is still one


# names and options of other libraries ---------------------------------------------------------------------------
@pytest.mark.parametrize("prefix", ["c", "lookahead_", "Lookahead-"])
@pytest.mark.parametrize("name", ["adam", "sgd", "adafactor", "radam"])
def test_compositions_under_a_name_of_their_own(prefix: str, name: str) -> None:
    text = message(lambda: optim_core.create_optimizer(model(), prefix + name))
    assert f"create_optimizer(model, {name!r}, wrappers=[" in text
    assert carry_out(text) == 2  # with `optim-core list`


def test_a_name_that_only_begins_alike() -> None:
    assert "composition" not in message(lambda: optim_core.get("clyon"))
    assert "composition" not in message(lambda: optim_core.get_scheduler("cadamw"))


@pytest.mark.parametrize("option", habits.OPTIONS)
def test_options_of_other_libraries(option: str) -> None:
    text = message(lambda: optim_core.create_optimizer(model(), "adamw", **{option: True}))
    assert f"no option {option!r}. Known from elsewhere: " in text
    assert carry_out(text) or "leave it out: the engine fuses" in text


# remedies -------------------------------------------------------------------------------------------------------
def test_flags_for_wrappers() -> None:
    for spec in optim_core.find(kind="wrapper"):
        if spec.name in ("gc", "lookahead"):
            continue
        text = message(lambda name=spec.name: optim_core.create_optimizer(model(), "adamw", **{f"use_{name}": True}))
        (choices,) = LIST.findall(text)
        assert eval(choices) == [spec.name]  # noqa: S307
    text = message(lambda: optim_core.create_optimizer(model(), "adamw", use_sharpness=True))
    assert not LIST.findall(text)
    assert carry_out(text) == 1
    assert "Did you mean 'cautious'?" in message(
        lambda: optim_core.create_optimizer(model(), "adamw", use_cautios=True)
    )


def test_a_flag_for_a_wrapper_that_is_not_installed(site) -> None:
    with pytest.raises(UnknownOption, match=r"pip install \"optim-core\[wrappers\]\", then wrappers=\['agc'\]"):
        optim_core.create_optimizer(model(), "torch:adamw", use_agc=True)


@pytest.mark.parametrize("spec", ["wsd", "sam", "sam,rho=0.1", "sam+lookahead", "cosine", "pcgrad+sam"])
def test_contenders_that_are_no_optimizers(spec: str) -> None:
    text = message(lambda: plan.read_contenders([spec]))
    if remedy := re.search(r"sgd,momentum=0.9\S*", text):
        assert plan.read_contenders([remedy[0]])
    else:
        assert carry_out(text) == 2  # the getter that was meant, and the drawing


@pytest.mark.parametrize("spec", ["sgd,momentum=0.9", "adamw+lookahead,k=3+sam"])
def test_learning_rates_for_one_contender(spec: str) -> None:
    text = message(lambda: plan.read_contenders([spec, spec]))
    (contender,), _ = plan.read_contenders([text.rpartition(": ")[2]])
    assert contender.lrs == (0.001, 0.01)
    assert contender.label == parse(spec).label


def test_every_install_command_names_an_extra() -> None:
    extras = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for pack in known.packs():
        extra = re.fullmatch(r'pip install "optim-core\[(.+)\]"', known.install_command(pack))
        assert extra is not None
        assert f"\n{extra[1]} = [" in extras


@pytest.mark.parametrize(
    "call",
    [
        lambda: optim_core.get("sam"),
        lambda: optim_core.get("wsd"),
        lambda: optim_core.get_wrapper("adamw"),
        lambda: optim_core.get_scheduler("sgd"),
        lambda: optim_core.get_wrapper("torch:sgd"),
        lambda: optim_core.create_optimizer(model(), "adamw", wrappers="lookahead"),
        lambda: optim_core.minimize(optim_core.get("sgd")(model()), lambda: [torch.ones(1), torch.ones(1)]),
    ],
)
def test_remedies(call: Callable[[], Any]) -> None:
    assert carry_out(message(call)) == 1


# wrappers that build what they go around, as elsewhere ----------------------------------------------------------
HABITS: dict[str, Callable[..., Any]] = {
    "a class": lambda cls, params, **own: cls(params, torch.optim.SGD, lr=0.1, momentum=0.9, **own),
    "a class of ours": lambda cls, params, **own: cls(params, optim_core.get("adam"), lr=0.1, **own),
    "a class by name": lambda cls, params, **own: cls(params, base_optimizer=torch.optim.SGD, lr=0.1, **own),
    "a class alone": lambda cls, params, **own: cls(torch.optim.SGD, lr=0.1, **own),
    "an optimizer behind its parameters": lambda cls, params, **own: cls(
        params, torch.optim.SGD(params, lr=0.1), **own
    ),
}


@pytest.mark.parametrize("habit", HABITS.values(), ids=HABITS)
@pytest.mark.parametrize("name", [spec.name for spec in base_only_specs()])
def test_wrappers_take_an_optimizer(name: str, habit: Callable[..., Any]) -> None:
    cls, params = optim_core.get_wrapper(name), list(model().named_parameters())
    text = message(lambda: habit(cls, params, **required_options(cls)))
    optimizer = torch.optim.SGD(params, lr=0.1)
    scope = {cls.__name__: cls, "torch": torch, "Adam": optim_core.get("adam"), "params": params}
    try:
        built: Any = eval(text[text.rindex(f"{cls.__name__}(") :], scope | {"optimizer": optimizer})  # noqa: S307
    except NotOffered:  # SGD has no denominator
        return
    assert type(built) is cls
    assert built.param_groups[0]["lr"] == 0.1


def test_options_of_the_wrapper_stay_with_it() -> None:
    cls: Any = optim_core.get_wrapper("sam")
    text = message(lambda: cls(list(model().parameters()), torch.optim.SGD, rho=0.2, lr=0.1))
    assert text.endswith("SAM(torch.optim.SGD(params, lr=0.1), rho=0.2)")


@pytest.mark.parametrize("name", [spec.name for spec in base_only_specs()])
def test_options_of_wrappers_go_by_name(name: str) -> None:
    cls: Any = optim_core.get_wrapper(name)
    base = torch.optim.Adam(model().named_parameters(), lr=0.1)
    defaults = [declared.default for declared in cls.hypers.values()]
    text = message(lambda: cls(base, *(defaults[:1] or [1])))
    assert text.startswith(f"{cls.__name__} takes options by name: ")
    if defaults and defaults[0] is not None:
        call = text[text.index(f"{cls.__name__}(") : text.index(", if those are meant")]
        assert type(eval(call, {cls.__name__: cls, "optimizer": base})) is cls  # noqa: S307
