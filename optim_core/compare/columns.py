"""Columns of packs for the table and the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from optim_core.catalog.registry import load_addition, registry
from optim_core.catalog.strangers import contained
from optim_core.compare.errors import CompareError
from optim_core.compare.summary import Row
from optim_core.text import one_line


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        header: over its cells.
        function: makes a cell from the runs at the best learning rate, as mappings.
    """

    header: str
    function: Callable[..., Any]

    def cell(self, row: Row) -> str:
        """The text for an optimizer; what the function raises stands in the cell, and the report is written."""
        if row.best is None:
            return "-"
        runs = [asdict(run) for run in row.best.runs]
        try:
            with contained(CompareError):
                return one_line(str(self.function(runs)))
        except CompareError as error:
            return f"({error})"


def load_columns(names: Sequence[str]) -> tuple[Column, ...]:
    """The columns of these names.

    Raises:
        UnresolvedName: no pack has one of them, or its function cannot be loaded.
    """
    found = [registry().addition("column", name) for name in names]
    return tuple(Column(column.name.replace("_", " "), load_addition(pack, column)) for pack, column in found)
