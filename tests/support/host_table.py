"""The table in docs/hosts.md: what comes of each kind of method under each host, which tests hold.

A cell is ``=`` (as the plain loop), a letter of a reason for which it is refused, or several of them where a kind has
methods of each; empty where it has not been tried.
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from support.kinds import Kind

PAGE = Path(__file__).resolve().parents[2] / "docs" / "hosts.md"

#: The reasons for refusals by the letters that the table has for them: what the message says.
REASONS = {
    "a": r"a second backward\(\) before step\(\), and the first one has moved the weights",
    "b": r"a step in the middle of backward would take each process's own",
    "c": r"evaluates the loss (more than once|twice) a step|evaluates the loss itself",
    "g": r"differentiates the gradients .*carry no graph",
    "l": r"the value of the loss",
    "m": r"needs each task's own gradient",
    "p": r"cannot work under .*a step depends on shapes, sums, draws or evaluations of the whole",
    "h": r"but here the host (scales|accumulates) gradients",
    "n": r"build the base with model\.named_parameters\(\)",
    "d": r"needs a (second moment|denominator)",
}


@functools.cache
def cells() -> Mapping[tuple[str, str], str]:
    """The cells of the table, by row and column."""
    rows = [line.strip("| ").split("|") for line in PAGE.read_text().splitlines() if line.startswith("|")]
    found: dict[tuple[str, str], str] = {}
    columns: list[str] = []
    for row in ([cell.strip() for cell in row] for row in rows):
        if row[0] == "what steps":
            columns = row[1:]
        elif row[0].startswith(("a method that", "a wrapper that")):
            found |= {(row[0], column): cell for column, cell in zip(columns, row[1:], strict=False)}
    return found


def sign(outcome: str) -> str:
    """The sign for an outcome: "same", or an error's name and message."""
    if outcome == "same":
        return "="
    letters = [letter for letter, text in REASONS.items() if re.search(text, outcome)]
    return letters[0] if letters else outcome


def assert_column(column: str, outcomes: Mapping[Kind, str]) -> None:
    """The table says of these kinds what has come of them, and no more."""
    signs: dict[str, set[str]] = defaultdict(set)
    for kind, outcome in outcomes.items():
        signs[kind.row].add(sign(outcome))
    said = {row: set(cells().get((row, column), "").split()) for row in signs}
    assert said == dict(signs), {kind.spec.name: outcome for kind, outcome in outcomes.items()}


def assert_cell(column: str, kind: Kind, outcome: str) -> None:
    """The table says of this kind, perhaps among other things, what has come of it."""
    assert sign(outcome) in cells().get((kind.row, column), "").split(), (kind, column, outcome)
