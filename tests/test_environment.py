"""docs/environment.md: one table of all environment variables."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from support import ROOT

from optim_core.catalog.settings import ENGINES, VARIABLES

PAGE = (ROOT / "docs" / "environment.md").read_text(encoding="utf-8")
SOURCES = [
    *ROOT.glob("optim_core/**/*.py"),
    *ROOT.glob("packs/**/*.py"),
    *ROOT.glob("benchmarks/*.py"),
    ROOT / "noxfile.py",
]
#: An attribute of manifests.
ATTRIBUTE = "OPTIM_CORE_API"
#: What is handed on to a process, rather than read.
SET = {"LC_ALL"}


def listed() -> set[str]:
    rows = re.findall(r"^\| (`[^|]+`) \|", PAGE, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def texts(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def looked_up(path: Path) -> Iterator[str]:
    """Variables that are looked up in the environment by a literal name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call | ast.Subscript | ast.Compare) and "os.environ" in ast.unparse(node)[:200]:
            yield from (
                each.value
                for each in ast.walk(node)
                if isinstance(each, ast.Constant)
                and isinstance(each.value, str)
                and re.fullmatch(r"[A-Z][A-Z_]+", each.value)
            )


def test_every_variable_of_ours_is_in_the_table():
    named = {text for path in SOURCES for text in texts(path) if re.fullmatch(r"OPTIM_CORE_[A-Z_]+", text)}
    assert set(VARIABLES) <= named
    assert {name for name in listed() if name.startswith("OPTIM_CORE_")} == named - {ATTRIBUTE}


def test_the_variables_of_others_are_those_that_are_read():
    read = {name for path in ROOT.glob("optim_core/**/*.py") for name in looked_up(path)} - SET
    assert {name for name in read if not name.startswith("OPTIM_CORE_")} == {
        name for name in listed() if not name.startswith("OPTIM_CORE_")
    }


def test_the_table_has_every_engine():
    row = PAGE.partition("| `OPTIM_CORE_ENGINE` |")[2].partition("\n")[0]
    assert all(f"`{engine}`" in row for engine in ENGINES)
