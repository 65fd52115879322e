"""The public names: docs/stability.md lists them, and packs import no others."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACK_FILES = sorted(ROOT.glob("packs/*/optim_core_*/**/*.py"))


def public_names() -> dict[str, set[str]]:
    """The names of each door, as the page lists them."""
    page = (ROOT / "docs" / "stability.md").read_text(encoding="utf-8")
    _, *sections = re.split(r"^## `([\w.]+)`$", page, flags=re.MULTILINE)
    return {
        door: set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
        for door, section in zip(sections[::2], sections[1::2], strict=True)
    }


def core_imports(path: Path) -> Iterator[tuple[str, str]]:
    """Every module and name that a file imports from the core; the name is empty for a whole module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            imports = [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            imports = [(alias.name, "") for alias in node.names]
        else:
            continue
        yield from ((module, name) for module, name in imports if module.partition(".")[0] == "optim_core")


@pytest.mark.parametrize("door", public_names())
def test_the_page_lists_what_a_door_exports(door):
    module = importlib.import_module(door)
    assert public_names()[door] == set(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)


def test_every_wing_that_packs_may_use_has_its_list():
    assert set(public_names()) == {
        "optim_core",
        *(f"optim_core.{name}" for name in ("errors", "names")),
        *(
            f"optim_core.{wing}"
            for wing in ("catalog", "rules", "methods", "optimizers", "wrapping", "testing", "schedules", "peers")
        ),
    }


@pytest.mark.parametrize("path", PACK_FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_packs_import_from_doors_only(path):
    doors = public_names()
    behind_doors = [
        f"{module}.{name}".rstrip(".")
        for module, name in core_imports(path)
        if module not in doors or (name and name not in doors[module])
    ]
    assert not behind_doors, f"{path.name} imports {behind_doors}, which no door exports: see docs/stability.md"
