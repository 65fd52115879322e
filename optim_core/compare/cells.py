"""The texts of the table, which the terminal and the report share."""

from __future__ import annotations

from collections.abc import Sequence

from optim_core.compare.columns import Column
from optim_core.compare.results import TaskFacts
from optim_core.compare.summary import Point, Row, show_point
from optim_core.text import byte_size


def headers(task: TaskFacts, columns: Sequence[Column] = ()) -> list[str]:
    """The headers of a row's numbers."""
    target = [f"to {task.show(task.target)}: steps, time"] if task.target is not None else []
    return ["best lr", task.metric, *target, "time a step", "state", "good lrs", *(c.header for c in columns)]


def cells_of(row: Row, task: TaskFacts, columns: Sequence[Column] = ()) -> list[str]:
    """The texts of a row: rank, name, the numbers under `headers`, and how the runs ended."""
    best = row.best
    if best is None or best.mean is None:
        return ["", row.optimizer, *("-" for _ in headers(task, columns)), row.state]
    return [
        f"{row.rank}{'=' if row.tied else ''}",
        row.optimizer,
        f"{best.lr:g}{'*' if row.edge else ''}",
        show_point(best, task),
        *([_target(row, best)] if task.target is not None else []),
        _step_time(row),
        "-" if row.state_bytes is None else byte_size(row.state_bytes),
        _good(row),
        *(column.cell(row) for column in columns),
        row.state,
    ]


def _target(row: Row, best: Point) -> str:
    if row.target_steps is None:
        return "-"
    part = f"\n({row.target_reached} of {best.good})" if row.target_reached < best.good else ""
    return f"{row.target_steps}, {duration(row.target_seconds)}{part}"


def _step_time(row: Row) -> str:
    """The median, and below it the range in the same unit."""
    if row.step_seconds is None or row.step_range is None:
        return duration(row.step_seconds)
    low, high = (f"{seconds * _scale(row.step_seconds):.3g}" for seconds in row.step_range)
    return f"{duration(row.step_seconds)}\n({low} - {high})"


def _scale(seconds: float) -> float:
    """What turns seconds into the unit in which `duration` writes a time."""
    return 1e6 if seconds < 1e-3 else 1e3 if seconds < 1 else 1.0 if seconds < 100 else 1 / 60


def _good(row: Row) -> str:
    text = f"{len(row.good_lrs)}/{len(row.points)}"
    if len(row.good_lrs) < 2 or not row.good_lrs[0]:
        return text
    ratio = row.good_lrs[-1] / row.good_lrs[0]
    return f"{text} x{ratio:.0f}" if ratio >= 10 else f"{text} x{ratio:.2g}"


def duration(seconds: float | None) -> str:
    """A time with its unit: `4.71 ms`, `2.3 s`, `3 min 20 s`; `-` for None."""
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
