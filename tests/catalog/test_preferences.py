"""Contested names: a preference settles them, in the environment or in Python, and one in vain is told."""

from __future__ import annotations

import re

import pytest
from support.fake_packs import error_text, spec

import optim_core
from optim_core import errors


@pytest.fixture
def contested(site):
    """Two strangers and one of ours that claim names of each other."""
    site.install("sign", spec("lion", summary="Ours."), distribution="optim-core-sign")
    site.install("acme", spec("lion", summary="Acme's."), spec("puma", aliases=("cat",)))
    site.install("zoo", spec("puma", summary="Zoo's."), spec("tom", aliases=("cat",)))
    return site


def summary(name: str) -> str:
    return optim_core.info(name).summary


@pytest.mark.parametrize("way", ["environment", "call"])
def test_a_preference_settles_a_name(contested, monkeypatch, way):
    if way == "call":
        optim_core.prefer("Acme:Lion", "zoo:puma")
    else:
        monkeypatch.setenv("OPTIM_CORE_PREFER", " acme:lion , zoo:puma")
    assert summary("lion") == "Acme's."
    assert summary("puma") == "Zoo's."
    assert summary("sign:lion") == "Ours."
    names = optim_core.get_supported_optimizers()
    assert names == ["acme:puma", "lion", "puma", "sign:lion", "tom"]
    assert [optim_core.info(name).name for name in names] == ["puma", "lion", "puma", "lion", "tom"]


def test_the_remedies_of_the_error_work(contested, monkeypatch):
    text = error_text(errors.AmbiguousName, optim_core.get, "lion")
    (call,) = re.findall(r"optim_core\.prefer\('(.*)'\)", text)
    optim_core.prefer(call)
    assert optim_core.get("lion")
    optim_core.prefer()
    error_text(errors.AmbiguousName, optim_core.get, "lion")
    variable, value = re.findall(r"export (\w+)=(\S+)", text)[0]
    monkeypatch.setenv(variable, value)
    assert optim_core.get("lion")


def test_an_alias_is_settled_by_the_method_that_is_meant(contested):
    error_text(errors.AmbiguousName, optim_core.get, "cat")
    optim_core.prefer("zoo:cat")
    assert optim_core.info("cat").name == "tom"
    error_text(errors.AmbiguousName, optim_core.get, "puma")


def test_python_comes_before_the_environment(contested, monkeypatch):
    monkeypatch.setenv("OPTIM_CORE_PREFER", "sign:lion")
    optim_core.prefer("acme:lion")
    assert summary("lion") == "Acme's."
    optim_core.prefer()
    assert summary("lion") == "Ours."


def test_a_preference_changes_no_name_that_is_clear(contested):
    optim_core.prefer("zoo:tom")
    assert optim_core.info("tom").name == "tom"
    contested.install("other", spec("otter", aliases=("tom",)))
    contested.registry()
    optim_core.prefer("other:otter")
    assert optim_core.info("tom").name == "tom"


def test_who_prefers_another_to_a_broken_pack_of_ours_gets_it(site):
    site.install("sign", manifest="1/0", distribution="optim-core-sign")
    site.install("acme", spec("lion"))
    with pytest.warns(errors.PackWarning):
        site.registry()
    error_text(errors.PackBroken, optim_core.get, "lion")
    optim_core.prefer("acme:lion")
    assert optim_core.get("lion")


@pytest.mark.parametrize(
    ("name", "error", "told"),
    [
        ("lion", errors.InvalidOption, "'lion' is not the name of a method in a pack: write pack:name"),
        ("torch:adam", errors.InvalidOption, "write pack:name"),
        ("acme:lino", errors.UnknownName, "no method 'lino' in pack 'acme'. Did you mean 'lion'?"),
        ("acne:lion", errors.UnknownName, "no pack 'acne'. Did you mean 'acme'"),
    ],
)
def test_a_call_that_names_nothing_is_refused_and_changes_nothing(contested, name, error, told):
    optim_core.prefer("zoo:puma")
    assert told in error_text(error, optim_core.prefer, "acme:lion", name)
    assert summary("puma") == "Zoo's."
    error_text(errors.AmbiguousName, optim_core.get, "lion")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("lion", "OPTIM_CORE_PREFER names 'lion', which is of no pack: write acme:lion or sign:lion"),
        ("acme:lino", "OPTIM_CORE_PREFER names 'acme:lino', and no such method is installed. Did you mean 'acme:lion'"),
        ("nobody:lion", "OPTIM_CORE_PREFER names 'nobody:lion', and no such method is installed."),
    ],
)
def test_a_variable_that_names_nothing_is_told_once(contested, monkeypatch, value, told):
    monkeypatch.setenv("OPTIM_CORE_PREFER", f"zoo:puma,{value}")
    with pytest.warns(errors.SettingWarning) as warned:
        contested.registry()
    assert len(warned) == 1
    assert told in str(warned[0].message)
    contested.registry()
    assert summary("puma") == "Zoo's."
