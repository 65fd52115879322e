"""The terminal: progress while it runs, the table when it is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from textwrap import fill

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from optim_core.compare.plan import Entry
from optim_core.compare.results import Run, TaskFacts
from optim_core.compare.summary import Point, Row, show_point


class Watch:
    """Two bars on a terminal: all runs, and the current one with its loss. Elsewhere a line for every finished run."""

    def __init__(self, console: Console, progress: Progress, total: int, task: TaskFacts) -> None:
        self._console = console
        self._progress = progress
        self._task = task
        self._total = total
        self._done = 0
        self._all = progress.add_task("all runs", total=total, detail="")
        self._current: TaskID | None = None

    def begin(self, entry: Entry, steps: int | None) -> None:
        """A run starts."""
        if self._current is not None:
            self._progress.remove_task(self._current)
        self._name = f"{entry.contender.label}  lr {entry.lr:g}  seed {entry.seed}"
        self._current = self._progress.add_task(_plain(self._name), total=steps, detail="")

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
            return  # the table will have it
        outcome = self._task.show(run.score) if run.score is not None else f"{run.status}: {run.message}"
        style = {"ok": "", "diverged": "yellow", "failed": "red"}[run.status]
        line = Text(f"{self._done:>3}/{self._total}  {self._name}  {outcome}", style=style)
        self._console.print(line, soft_wrap=True)


@contextmanager
def watching(console: Console, total: int, task: TaskFacts) -> Iterator[Watch]:
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
        yield Watch(console, progress, total, task)


def table(rows: Sequence[Row], task: TaskFacts) -> Table:
    """The comparison, best first; what the columns mean stands in `optim_core.compare.summary`.

    It fits into 80 columns: what went wrong with an optimizer stands under its name, not in a column of its own.
    """
    made = Table(box=SIMPLE_HEAD, pad_edge=False, padding=0)
    made.add_column("#", no_wrap=True)
    made.add_column("optimizer", overflow="fold", min_width=12)
    for header in headers(task):
        made.add_column(fill(header, 10, break_long_words=False), justify="right", no_wrap=True)
    for row in rows:
        rank, name, *numbers, state = cells_of(row, task)
        title = Text(name)
        if state != "ok":
            title.append(f"\n{state}", style="yellow")
        made.add_row(rank, title, *numbers, style="bold" if row.rank == 1 and row.best else "")
    return made


def headers(task: TaskFacts) -> list[str]:
    """What stands over the numbers of a row."""
    target = [f"to {task.show(task.target)}: steps, time"] if task.target is not None else []
    return ["best lr", task.metric, *target, "time a step", "state", "good lrs"]


def cells_of(row: Row, task: TaskFacts) -> list[str]:
    """Rank, name, the numbers under `headers`, and how the runs ended: the texts that terminal and report share."""
    best = row.best
    if best is None or best.mean is None:
        return ["", row.optimizer, *("-" for _ in headers(task)), row.state]
    return [
        f"{row.rank}{'=' if row.tied else ''}",
        row.optimizer,
        f"{best.lr:g}{'*' if row.edge else ''}",
        show_point(best, task),
        *([_target(row, best)] if task.target is not None else []),
        duration(row.step_seconds),
        size(row.state_bytes),
        _good(row),
        row.state,
    ]


def _target(row: Row, best: Point) -> str:
    if row.target_steps is None:
        return "-"
    some = f"\n({row.target_reached} of {best.good})" if row.target_reached < best.good else ""
    return f"{row.target_steps}, {duration(row.target_seconds)}{some}"


def _good(row: Row) -> str:
    text = f"{len(row.good_lrs)}/{len(row.points)}"
    if len(row.good_lrs) < 2 or not row.good_lrs[0]:
        return text
    ratio = row.good_lrs[-1] / row.good_lrs[0]
    return f"{text} x{ratio:.0f}" if ratio >= 10 else f"{text} x{ratio:.2g}"


def duration(seconds: float | None) -> str:
    """`4.71 ms`, `2.3 s`, `3 min 20 s`."""
    if seconds is None:
        return "-"
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def size(count: int | None) -> str:
    """`0 B`, `33.3 KiB`, `1.2 GiB`."""
    if count is None:
        return "-"
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
