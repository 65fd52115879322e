"""What the commands share: tables on standard output, JSON for machines."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optim_core.catalog.installed import Entry, Installed
from optim_core.terminal import console, say, table
from optim_core.text import counted


def print_table(*headers: str, rows: Iterable[Sequence[str]], elastic: str = "") -> None:
    """Print a table of plain texts; ``elastic`` is the header of the column that is folded in a narrow terminal."""
    out = console()
    laid_out = table(*headers, rows=rows, out=out, elastic=elastic)
    if isinstance(laid_out, str):
        say(laid_out)
    else:
        out.print(laid_out, crop=False)


def print_json(value: Any) -> None:
    """Write a value as JSON."""
    say(json.dumps(plain(value), indent=2, allow_nan=False))


def plain(value: Any) -> Any:
    """A value in the terms of JSON; what has none, such as a function or an infinite number, as its text.

    Example:
        >>> plain({"betas": (0.9, float("inf"))})
        {'betas': [0.9, 'inf']}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return getattr(value, "__name__", None) or str(value)


def entry_dict(entry: Entry) -> dict[str, Any]:
    """A spec and its pack as plain values."""
    pack = {key: getattr(entry.pack, key) for key in ("name", "distribution", "version", "license")}
    return {**entry.spec.as_dict(), "pack": pack}


def mention_failures(installed: Installed) -> None:
    """Say on standard error that broken packs are missing from the output."""
    if installed.failures:
        say(f"{counted(len(installed.failures), 'pack')} failed to load: `optim-core doctor` says why.", err=True)
