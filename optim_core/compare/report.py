"""`report.html`: one self-contained file, readable in light and dark, on paper and on a phone."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from optim_core.compare import plots
from optim_core.compare.cells import cells_of, headers
from optim_core.compare.columns import Column
from optim_core.compare.results import Results, write_atomically
from optim_core.compare.summary import Row, how_timed, remarks, show_point, summarise, verdict

FILE = "report.html"


def write_report(results: Results, note: str = "", columns: Sequence[Column] = ()) -> Path:
    """Write `report.html` beside `results.json`.

    Args:
        results: the comparison.
        note: a remark for the top, for example that the comparison was interrupted.
        columns: those of packs.

    Returns:
        Its path.
    """
    path = results.folder / FILE
    write_atomically(path, render(results, note, columns))
    return path


def render(results: Results, note: str = "", columns: Sequence[Column] = ()) -> str:
    """The page as text. Everything that users name is escaped."""
    task = results.task
    rows = summarise(results.runs.values(), task)
    finished = [row for row in rows if row.best is not None]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["breakable"] = _breakable
    template = environment.from_string(files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8"))
    figures = []
    if finished:
        figures = [plots.lr_plot(finished, task), plots.score_plot(finished, task), plots.loss_plot(finished)]
    return template.render(
        task=task,
        target=task.show(task.target) if task.target is not None else "",
        verdict=verdict(rows, task),
        note=note,
        headers=headers(task, columns),
        rows=[(row, cells_of(row, task, columns)) for row in rows],
        remarks=list(filter(None, (*remarks(rows), how_timed(rows)))),
        legend=[(row.optimizer, _trusted(plots.swatch(index))) for index, row in enumerate(finished)],
        figures=[(plot, _trusted(plot.svg)) for plot in figures],
        lrs=sorted({point.lr for row in rows for point in row.points}),
        by_lr=[(row.optimizer, _by_lr(row, results)) for row in rows],
        seeds=len({run.seed for run in results.runs.values()}),
        runs=len(results.runs),
        facts=_facts(results),
        tracebacks=_tracebacks(results),
    )


def _breakable(name: str) -> Markup:
    """A name that a browser may break before each of its parts."""
    return Markup("<wbr>").join(re.split(r"(?<=[:,])|(?=\+)", name))


def _trusted(svg: str) -> Markup:
    return Markup(svg)  # noqa: S704 - matplotlib wrote it, and escapes the names in it


def _by_lr(row: Row, results: Results) -> dict[float, str]:
    cells = {}
    for point in row.points:
        parts = []
        if point.mean is not None:
            parts.append(show_point(point, results.task))
        parts += [
            f"{status} {count}"
            for status in ("diverged", "failed")
            if (count := sum(run.status == status for run in point.runs))
        ]
        cells[point.lr] = ", ".join(parts)
    return cells


def _tracebacks(results: Results) -> list[tuple[str, str]]:
    """Each traceback once, with the runs that ended in it."""
    runs: dict[str, list[str]] = {}
    for run in results.runs.values():
        if run.traceback:
            runs.setdefault(run.traceback, []).append(f"{run.optimizer}, lr {run.lr:g}, seed {run.seed}")
    return [("; ".join(names), trace) for trace, names in runs.items()]


def _facts(results: Results) -> Sequence[tuple[str, str]]:
    facts = [(name, _plain(value)) for name, value in {**results.setup, **results.environment}.items()]
    return [(name.replace("_", " "), value) for name, value in facts if value]


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
