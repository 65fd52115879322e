"""Tables in the terminal, JSON for machines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from optim_core.catalog.installed import Entry, Installed
from optim_core.text import counted

#: Columns where the output is not a terminal.
_WIDTH = 160


def console() -> Console:
    """The console that a command writes to."""
    plain = Console(highlight=False)
    if plain.is_terminal or "COLUMNS" in os.environ:
        return plain
    return Console(highlight=False, width=_WIDTH)


def table(*headers: str, rows: Iterable[Iterable[str]], elastic: str = "") -> Table:
    """A table of plain texts.

    Args:
        headers: of the columns.
        rows: the cells of each row.
        elastic: the header of the column that is folded where the terminal is narrow.
    """
    result = Table(box=SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        result.add_column(header, no_wrap=header != elastic, overflow="fold", ratio=1 if header == elastic else None)
    for row in rows:
        result.add_row(*map(escape, row))
    return result


def print_json(value: Any) -> None:
    """Write a value as JSON."""
    click.echo(json.dumps(value, indent=2))


def entry_dict(entry: Entry) -> dict[str, Any]:
    """A spec and its pack as plain values."""
    pack = {key: getattr(entry.pack, key) for key in ("name", "distribution", "version", "license")}
    return {**entry.spec.as_dict(), "pack": pack}


def mention_failures(installed: Installed) -> None:
    """Say on standard error that broken packs are missing from the output."""
    if installed.failures:
        click.echo(
            f"{counted(len(installed.failures), 'pack')} failed to load: `optim-core doctor` says why.", err=True
        )
