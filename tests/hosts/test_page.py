"""docs/hosts.md names what its table was run with, and explains each of its letters."""

from __future__ import annotations

import re

from support.host_table import PAGE, REASONS, cells

TEXT = PAGE.read_text()
HOSTS = ("torch", "lightning", "accelerate", "transformers")


def test_versions() -> None:
    pinned = dict(
        re.findall(r"^(\w+)==(\S+)$", (PAGE.parents[1] / "tests" / "constraints.txt").read_text(), re.MULTILINE)
    )
    assert [host for host in HOSTS if f"{host} {pinned[host]}" not in " ".join(TEXT.split())] == []


def test_letters() -> None:
    explained = set(re.findall(r"^\| (\w) \|", TEXT, re.MULTILINE))
    used = {sign for cell in cells().values() for sign in cell.split()} - {"="}
    assert explained == used == set(REASONS)
