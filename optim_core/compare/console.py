"""The terminal: progress while runs are made, the table at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from textwrap import fill

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from optim_core import terminal
from optim_core.compare.cells import cells_of, headers
from optim_core.compare.columns import Column
from optim_core.compare.plan import PlannedRun
from optim_core.compare.results import Run, TaskFacts
from optim_core.compare.summary import Row


class ProgressBars:
    """Two bars on a terminal: all runs, and the current one with its loss. Elsewhere a line per finished run."""

    def __init__(self, console: Console, progress: Progress, total: int, task: TaskFacts) -> None:
        self._console = console
        self._progress = progress
        self._task = task
        self._total = total
        self._done = 0
        self._all = progress.add_task("all runs", total=total, detail="")
        self._current: TaskID | None = None

    def begin(self, planned: PlannedRun, steps: int | None) -> None:
        """A run starts."""
        if self._current is not None:
            self._progress.remove_task(self._current)
        self._name = f"{planned.contender.label}  lr {planned.lr:g}  seed {planned.seed}"
        self._current = self._progress.add_task(escape(self._name), total=steps, detail="")

    def skip(self) -> None:
        """A run need not be made."""
        self._done += 1
        self._progress.advance(self._all)

    def step(self, step: int, loss: float, score: float) -> None:
        """A step was taken."""
        if self._current is not None:
            detail = f"loss {loss:.4f}  score {self._task.show(score)}"
            self._progress.update(self._current, completed=step, detail=detail)

    def end(self, run: Run) -> None:
        """A run is over."""
        self._done += 1
        self._progress.advance(self._all)
        if run.status == "ok" and self._console.is_terminal:
            return  # the table will show it
        outcome = self._task.show(run.score) if run.score is not None else f"{run.status}: {run.message}"
        style = {"ok": "", "diverged": "yellow", "failed": "red"}[run.status]
        line = Text(f"{self._done:>3}/{self._total}  {self._name}  {outcome}", style=style)
        self._console.print(line, soft_wrap=True)


@contextmanager
def progress_bars(console: Console, total: int, task: TaskFacts) -> Iterator[ProgressBars]:
    """Show the progress of `total` runs."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield ProgressBars(console, progress, total, task)


def table(
    rows: Sequence[Row], task: TaskFacts, console: Console, columns: Sequence[Column] = ()
) -> RenderableType | str:
    """The comparison, best first; `optim_core.compare.summary` explains the columns.

    It fits into 80 columns, the failures of an optimizer under its name; in fewer, each optimizer is a paragraph.
    """
    heads = [fill(header, 10, break_long_words=False) for header in headers(task, columns)]
    cells, styles = [], []
    for row in rows:
        rank, name, *numbers, state = cells_of(row, task, columns)
        outcome = "" if state == "ok" else f"\n{state}"
        cells.append([f"{rank:<2} {name}{outcome}", *numbers])
        styles.append("bold" if row.rank == 1 and row.best else "")
    return terminal.table("optimizer", *heads, rows=cells, out=console, right=heads, styles=styles)
