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
from support.peers import runner

from optim_core.peers.tables import Peer, libraries, peers

pytestmark = [
    pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning"),
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, ("pytorch_optimizer", "timm"))), reason="nox -s peers installs them"
    ),
]


@functools.cache
def differences() -> list[dict[str, Any]]:
    """The rows that tell of a difference from a class that is run."""
    rows = tomllib.loads((ROOT / "docs" / "differences.toml").read_text(encoding="utf-8"))["row"]
    return [row for row in rows if "class" in row and "text" in row]


def is_explained(theirs: Peer, options: dict[str, Any]) -> bool:
    """Whether a row is about this class with these of its switches and choices; numbers make no other algorithm."""
    in_force = {**theirs.options, **options}
    return any(
        (row["program"], row["class"]) == (theirs.library, theirs.cls)
        and all(in_force.get(k, x) == x for k, x in row.get("theirs", {}).items() if isinstance(x, bool | str))
        for row in differences()
    )


@pytest.mark.parametrize(
    "theirs",
    [pytest.param(theirs, id=f"{library}-{theirs.name}") for library in libraries() for theirs in peers(library)],
)
def test_same_steps_or_a_row_says_why_not(theirs: Peer) -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        options = runner().needed(theirs)
        outcome = runner().compare(theirs, **options)
    finally:
        torch.set_default_dtype(before)
    if outcome == "same" or outcome.startswith("none: "):
        return
    assert is_explained(theirs, options), outcome


def test_the_signatures_are_those_of_the_installed_versions() -> None:
    written = runner().FILE.read_text(encoding="utf-8")
    assert runner().signatures() == written
