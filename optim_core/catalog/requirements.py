"""What distributions say beside their packs: which core they ask for, and entry points in a group that is none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import importlib_metadata

from optim_core.catalog.discovery import GROUP
from optim_core.names import edit_distance, normalise
from optim_core.text import one_line


def unmet(distribution: str) -> Iterator[str]:
    """The requirements of a distribution that this environment does not meet, each with what is there instead.

    Raises:
        ImportError: ``packaging`` is not installed.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    for text in importlib_metadata.distribution(distribution).requires or ():
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            yield f"{one_line(text)!r}, which is no requirement"
            continue
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib_metadata.version(wanted.name)
        except importlib_metadata.PackageNotFoundError:
            yield f"{one_line(str(wanted))}, which is not installed"
            continue
        if not wanted.specifier.contains(version, prereleases=True):
            yield f"{one_line(str(wanted))}, but {version} is installed"


def near_misses() -> list[tuple[str, str]]:
    """Distributions with entry points in a group whose name is nearly ours, and that group."""
    found: dict[tuple[str, str], None] = {}
    for distribution in importlib_metadata.distributions():
        for group in _groups(distribution):
            if group != GROUP and edit_distance(normalise(group), normalise(GROUP)) <= 2:
                found[one_line(str(distribution.name)), one_line(group)] = None
    return list(found)


def _groups(distribution: Any) -> Iterable[str]:
    try:
        return {point.group for point in distribution.entry_points}
    except Exception:  # noqa: BLE001 - whatever the parser makes of a stranger's file; the registry tells of ours
        return ()
