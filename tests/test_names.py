from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optim_core.names import did_you_mean, nearest, normalise


@pytest.mark.parametrize("name", ["explore_exploit", "Explore-Exploit", "EXPLORE.EXPLOIT", "explore exploit"])
def test_case_and_separators_do_not_count(name):
    assert normalise(name) == "exploreexploit"


@given(st.text())
def test_normalising_twice_changes_nothing(name):
    assert normalise(normalise(name)) == normalise(name)


def test_nearest_comes_first_and_as_it_is_written():
    assert nearest("Adm-W", ["adam", "Adam_W", "lion"]) == ["Adam_W", "adam"]


def test_nothing_near():
    assert nearest("lion", ["sgd"]) == []
    assert did_you_mean("lion", ["sgd"]) == ""


def test_the_hint():
    assert did_you_mean("adamm", ["adam", "adamw", "lion"]) == " Did you mean 'adam' or 'adamw'?"
