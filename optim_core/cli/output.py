"""Tables in the terminal, JSON for machines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from optim_core.catalog.entry import Entry
from optim_core.catalog.registry import Registry

#: Columns where the output is no terminal, which has a width of its own.
_WIDTH = 160


def console() -> Console:
    """Where a command writes."""
    plain = Console(highlight=False)
    if plain.is_terminal or "COLUMNS" in os.environ:
        return plain
    return Console(highlight=False, width=_WIDTH)


def table(*headers: str, rows: Iterable[Iterable[str]], elastic: str = "") -> Table:
    """A table of plain texts.

    Args:
        headers: of the columns.
        rows: their cells.
        elastic: the column that is folded where the terminal is narrow.
    """
    result = Table(box=SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        result.add_column(header, no_wrap=header != elastic, overflow="fold", ratio=1 if header == elastic else None)
    for row in rows:
        result.add_row(*map(_literal, row))
    return result


def print_json(value: Any) -> None:
    """Write a value for machines."""
    click.echo(json.dumps(value, indent=2))


def entry_dict(entry: Entry) -> dict[str, Any]:
    """A spec and its pack as plain values."""
    pack = {key: getattr(entry.pack, key) for key in ("name", "distribution", "version", "license")}
    return {**entry.spec.as_dict(), "pack": pack}


def mention_failures(registry: Registry) -> None:
    """Say on standard error that packs are missing from what is shown."""
    if registry.failures:
        click.echo(f"{counted(len(registry.failures), 'pack')} failed to load: `optim-core doctor` says why.", err=True)


def counted(count: int, noun: str) -> str:
    """A number of things.

    Example:
        >>> counted(1, "pack"), counted(2, "pack")
        ('1 pack', '2 packs')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _literal(text: str) -> str:
    """A text in which rich finds no markup."""
    return text.replace("[", r"\[")
