"""docs/differences.md against the list that it is made from; the other programs need not be installed."""

from __future__ import annotations

import functools
import re
import tomllib
from typing import Any

import pytest
import torch
from support import ROOT

import optim_core

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")

DOCS = ROOT / "docs"


@functools.cache
def rows() -> list[dict[str, Any]]:
    return tomllib.loads((DOCS / "differences.toml").read_text(encoding="utf-8"))["row"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The list is read when tests are collected, not when this module is imported."""
    for fixture, options in {"row": "ours", "outer_row": "here"}.items():
        if fixture in metafunc.fixturenames:
            found = [row for row in rows() if row.get(options) or (options == "here" and options in row)]
            metafunc.parametrize(fixture, found, ids=lambda row: row["method"])


def test_the_page_has_the_rows_of_the_list():
    method, found = "", []
    for line in (DOCS / "differences.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[0] != "method" and not cells[0].startswith("-"):
            method = cells[0].strip("`") or method
            found.append((method, cells[1], cells[2]))
    same = "The same with equal options."
    assert found == [(row["method"], row["program"], row.get("text", same)) for row in rows()]


def test_numbers_belong_to_what_was_run():
    lines = (DOCS / "differences.md").read_text(encoding="utf-8").splitlines()
    printed = [line for line in lines if re.match(r"\| (`\w+`)? \| ", line)]
    assert [" | read |" in line for line in printed] == ["class" not in row for row in rows()]
    assert not any("not installed" in line for line in printed)


def test_our_options_are_options(row: dict[str, Any]):
    assert row["ours"].keys() <= optim_core.get(row["method"]).hypers.keys()
    assert row["class"]


def test_our_options_of_wrappers_are_options(outer_row: dict[str, Any]):
    method, options = outer_row["method"], outer_row["here"]
    if "created" in outer_row:
        assert optim_core.create_optimizer(torch.nn.Linear(2, 2), outer_row["created"], **options)
    else:
        assert options.keys() <= optim_core.get_wrapper(method).hypers.keys()
