from __future__ import annotations

import dataclasses
import json
from typing import get_args

import pytest
from support.fake_packs import spec

import optim_core
from optim_core.catalog import hookspecs
from optim_core.catalog.additions import ADDITIONS
from optim_core.catalog.kinds import KINDS
from optim_core.catalog.needs import NEEDS
from optim_core.catalog.sizes import SIZES, element_count
from optim_core.catalog.specs import (
    KindName,
    OptimizerSpec,
    Paper,
    SchedulerSpec,
    Spec,
    WrapperSpec,
    is_license,
)
from optim_core.errors import SpecError


def test_a_spec_knows_its_kind_and_class():
    assert [cls.kind for cls in (OptimizerSpec, SchedulerSpec, WrapperSpec)] == ["optimizer", "scheduler", "wrapper"]
    assert spec(target="acme.lion:Lion").class_name == "Lion"


def test_each_kind_has_a_hook_a_getter_and_a_name():
    hooks = {name for name in vars(hookspecs) if name.startswith("optim_core_")}
    transforms = {"optim_core_transforms"}  # they are wrappers to whoever asks for them
    assert {kind.hook for kind in KINDS.values()} | transforms | {sort.hook for sort in ADDITIONS.values()} == hooks
    assert {kind.getter for kind in KINDS.values()} <= set(optim_core.__all__)
    assert [kind.name for kind in KINDS.values()] == list(KINDS) == list(get_args(KindName))


def test_a_spec_is_frozen_and_hashable():
    one = spec(state={"exp_avg": "element"})
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.name = "other"
    assert {one: 1}[spec(state={"exp_avg": "element"})] == 1


def test_a_spec_as_json():
    full = spec(paper=Paper(title="T", url="https://example.org", year=2023), needs=("closure",), state={"m": "row"})
    again = json.loads(json.dumps(full.as_dict()))
    assert again["kind"] == "optimizer"
    assert again["paper"] == {"title": "T", "url": "https://example.org", "year": 2023}
    assert again["needs"] == ["closure"]
    assert again["state"] == {"m": "row"}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"name": "Lion"}, "spec 'Lion': name='Lion' should be lower-case letters, digits and single '_' between them"),
        ({"name": "a:b"}, "name='a:b' should be"),
        ({"aliases": ("k-lion",)}, "name='k-lion' should be"),
        ({"aliases": ("l_i_on",)}, "aliases=('l_i_on',) should be different from the name and from each other"),
        ({"target": "acme.lion"}, "spec 'lion': target='acme.lion' should be 'module:Class'"),
        ({"summary": "two\nlines"}, "should be one line"),
        ({"summary": ""}, "summary='' should be one line"),
        (
            {"license": "do what you like"},
            "license='do what you like' should be an SPDX expression such as 'Apache-2.0'",
        ),
        ({"code_license": "none, really"}, "should be an SPDX expression or 'none found'"),
        ({"needs": ("closur",)}, "needs='closur' should be one of closure, create_graph"),
        ({"needs": ("closur",)}, "Did you mean 'closure'?"),
        ({"state": {"m": "elements"}}, "spec 'lion': state['m']='elements' should be one of element, row"),
        ({"state": {"m": "0 element"}}, "'3 element' for three"),
        ({"shortfall": "too\nslow"}, "shortfall='too\\nslow' should be one line"),
    ],
)
def test_a_wrong_spec_says_what_is_wrong(fields, text):
    with pytest.raises(SpecError) as raised:
        spec(**fields)
    assert text in str(raised.value)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"example": "100"}, "example='100' should be keyword arguments such as 'total_steps=100, min_lr=0.01'"),
        ({"example": "steps=1), print(2"}, "should be keyword arguments"),
        ({"example": "**{}"}, "should be keyword arguments"),
        ({"example": "steps="}, "should be keyword arguments"),
        ({"sets": "the lr"}, "sets='the lr' should be the name of a parameter group's entry, such as 'lr'"),
    ],
)
def test_a_wrong_spec_of_a_scheduler(fields, text):
    with pytest.raises(SpecError) as raised:
        SchedulerSpec(name="ramp", target="acme.ramp:Ramp", summary="Up.", license="MIT", **fields)
    assert text in str(raised.value)


def test_the_base_has_no_kind():
    with pytest.raises(SpecError, match="'x': use OptimizerSpec, SchedulerSpec or WrapperSpec instead of Spec"):
        Spec(name="x", target="a:B", summary="S.", license="MIT")


def test_a_misspelt_field_is_refused():
    with pytest.raises(TypeError, match="licence"):
        spec(licence="MIT")


@pytest.mark.parametrize("text", ["MIT", "GPL-2.0+", "MIT OR Apache-2.0", "GPL-2.0-only WITH Classpath-exception-2.0"])
def test_licences(text):
    assert is_license(text)


@pytest.mark.parametrize("text", ["", "free for all", "MIT OR", "(MIT", "MIT Apache-2.0"])
def test_no_licences(text):
    assert not is_license(text)


@pytest.mark.parametrize(
    ("size", "matrix", "vector", "scalar"),
    [
        ("element", 12, 5, 1),
        ("3 element", 36, 15, 3),
        ("row", 4, 5, 1),
        ("tensor", 1, 1, 1),
        ("whole", 0, 0, 0),
        ("axes", 25, 25, 0),
        ("all_but_last", 4, 0, 0),
        ("all_but_second_last", 3, 0, 0),
        ("element_below_2d", 0, 5, 1),
        ("element_from_2d", 12, 0, 0),
        ("axes_from_2d", 25, 0, 0),
        ("math:prod", 12, 5, 1),
    ],
)
def test_sizes_of_states(size, matrix, vector, scalar):
    assert [element_count(size, shape) for shape in ((4, 3), (5,), ())] == [matrix, vector, scalar]


def test_factored_states_keep_leading_dimensions():
    assert element_count("all_but_last", (2, 4, 3)) == 8
    assert element_count("all_but_second_last", (2, 4, 3)) == 6


def test_an_unknown_size():
    with pytest.raises(SpecError, match="'cube' is not a size of a state: element, row"):
        element_count("cube", (2, 2))


def test_every_need_and_size_is_explained():
    assert all(NEEDS.values())
    assert all(size.words for size in SIZES.values())
