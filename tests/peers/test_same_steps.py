"""Where both have a method, from_peer gives theirs to the last digits, or a row of docs/differences.toml says why not.

Runs where the libraries are installed: ``nox -s peers``.
"""

from __future__ import annotations

import functools
import importlib.util
import tomllib
from typing import Any

import pytest
import torch
from support import ROOT

from optim_core.peers.tables import Peer, libraries, peers

pytestmark = [
    pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning"),
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, ("pytorch_optimizer", "timm"))), reason="nox -s peers installs them"
    ),
]


@functools.cache
def runner() -> Any:
    """docs/peers.py."""
    found = importlib.util.spec_from_file_location("run_peers", ROOT / "docs" / "peers.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@functools.cache
def explained() -> set[tuple[str, str]]:
    """(program, class) of the rows that tell of a difference."""
    rows = tomllib.loads((ROOT / "docs" / "differences.toml").read_text(encoding="utf-8"))["row"]
    return {(row["program"], row["class"]) for row in rows if "class" in row and "text" in row}


@pytest.mark.parametrize(
    "theirs",
    [pytest.param(theirs, id=f"{library}-{theirs.name}") for library in libraries() for theirs in peers(library)],
)
def test_same_steps_or_a_row_says_why_not(theirs: Peer) -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        outcome = runner().compare(theirs, **runner().needed(theirs))
    finally:
        torch.set_default_dtype(before)
    if outcome == "same" or outcome.startswith("none: "):
        return
    assert (theirs.library, theirs.cls) in explained(), outcome


def test_the_signatures_are_those_of_the_installed_versions() -> None:
    written = runner().FILE.read_text(encoding="utf-8")
    assert runner().signatures() == written
