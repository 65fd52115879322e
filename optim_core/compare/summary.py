"""From runs to the rows of the table.

- An optimizer is judged at its best learning rate: the one with the best mean score over seeds, among those at which
  no seed diverged or failed (if there is none, among those with the most good seeds). The score that picks the
  learning rate is the score that is shown, so small leads are flattered; that holds for every optimizer alike.
- Two optimizers tie when their means differ by no more than one standard deviation over seeds: the root mean square of
  theirs.
- The target: steps, and seconds of those steps, until the first evaluation that reaches it; the median over seeds.
- Time a step: the median over all runs of the optimizer that went to their end, at any learning rate, of each run's
  median; the spread is from the fastest of these runs to the slowest. On a busy machine it is wide, and times within
  it tell nothing.
- Robustness to lr: how many of the tried learning rates keep 95 % of the way from the untrained model's score to this
  optimizer's best score, without a bad seed; and the factor between the smallest and the largest of them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from optim_core.compare.results import Run, TaskFacts

#: The share of an optimizer's best improvement that a learning rate must keep to count as good.
KEEP = 0.95


@dataclass(frozen=True, kw_only=True)
class Point:
    """The runs of one optimizer at one learning rate, one per seed."""

    lr: float
    runs: tuple[Run, ...]
    mean: float | None
    sd: float | None

    @property
    def good(self) -> int:
        """The number of seeds that finished."""
        return sum(run.score is not None for run in self.runs)

    @property
    def bad(self) -> int:
        """The number of seeds that diverged or failed."""
        return len(self.runs) - self.good


@dataclass(frozen=True, kw_only=True)
class Row:
    """One optimizer."""

    rank: int
    tied: bool
    optimizer: str
    points: tuple[Point, ...]
    best: Point | None
    edge: str
    target_steps: int | None
    target_seconds: float | None
    target_reached: int
    step_seconds: float | None
    step_range: tuple[float, float] | None
    state_bytes: int | None
    good_lrs: tuple[float, ...]

    @property
    def runs(self) -> list[Run]:
        """Every run of the optimizer."""
        return [run for point in self.points for run in point.runs]

    @property
    def state(self) -> str:
        """`ok`, or how many runs diverged or failed: `diverged 2 of 12`."""
        runs = self.runs
        counts = [(name, sum(run.status == name for run in runs)) for name in ("diverged", "failed")]
        return ", ".join(f"{name} {count} of {len(runs)}" for name, count in counts if count) or "ok"

    @property
    def message(self) -> str:
        """The message of the first run that failed, or else of the first that diverged."""
        bad = sorted((run for run in self.runs if run.status != "ok"), key=lambda run: run.status != "failed")
        return f"lr {bad[0].lr:g}, seed {bad[0].seed}: {bad[0].message}" if bad else ""


def summarise(runs: Iterable[Run], task: TaskFacts) -> list[Row]:
    """The rows, best first; optimizers without a single good run come last."""
    by_name: dict[str, list[Run]] = {}
    for run in runs:
        by_name.setdefault(run.optimizer, []).append(run)
    sign = -1 if task.goal == "max" else 1
    rows = [_row(name, of_name, task) for name, of_name in by_name.items()]
    rows.sort(key=lambda row: math.inf if row.best is None or row.best.mean is None else sign * row.best.mean)
    tied = [index for index, row in enumerate(rows) if ties(rows[0], row)]
    return [
        replace(row, rank=1 if index in tied else index + 1, tied=index in tied and len(tied) > 1)
        for index, row in enumerate(rows)
    ]


def ties(a: Row, b: Row) -> bool:
    """Return whether two rows are within one standard deviation of each other, pooled over the two."""
    if a.best is None or b.best is None or a.best.mean is None or b.best.mean is None:
        return False
    return abs(a.best.mean - b.best.mean) <= math.sqrt(((a.best.sd or 0.0) ** 2 + (b.best.sd or 0.0) ** 2) / 2)


def verdict(rows: Sequence[Row], task: TaskFacts) -> str:
    """One sentence: which optimizer is best, and how certain that is."""
    if not rows or rows[0].best is None:
        return "No run went to its end, so there is no winner."
    first, best = rows[0], rows[0].best
    score = f"{show_point(best, task)} at lr {best.lr:g}"
    if len(rows) == 1:
        return f"{first.optimizer} reached a {task.metric} of {score}."
    return f"{first.optimizer} has the best {task.metric}, {score}{_lead(rows, best)}"


def _lead(rows: Sequence[Row], best: Point) -> str:
    """The second half of the verdict: how far the first is ahead."""
    tied = [row.optimizer for row in rows[1:] if row.tied]
    if tied:
        others = " and ".join(filter(None, (", ".join(tied[:-1]), tied[-1])))
        verb = "is" if len(tied) == 1 else "are"
        return f"; but {others} {verb} within one standard deviation: a tie for these seeds."
    if rows[1].best is None:
        return "; no other optimizer finished a run."
    if best.good < 2:
        return "; with one seed there is no telling how much of its lead is chance."
    return f", ahead of {rows[1].optimizer} by more than one standard deviation."


def remarks(rows: Sequence[Row]) -> list[str]:
    """Remarks for readers of the table."""
    notes = [
        f"{row.optimizer}: its best lr, {row.best.lr:g}, is the {row.edge} tried; "
        f"a {row.edge.removesuffix('st')}r one may be better still."
        for row in rows
        if row.best is not None and row.edge
    ]
    return notes + [f"{row.optimizer}: {row.state}; {row.message}" for row in rows if row.message]


def how_timed(rows: Sequence[Row]) -> str:
    """How the times a step were taken: of which runs, and on which machines; "" if there are none."""
    if all(row.step_seconds is None for row in rows):
        return ""
    runs = [run for row in rows for run in row.runs if run.step_seconds is not None and run.score is not None]
    machines = list(dict.fromkeys(run.machine for run in runs if run.machine))
    where = f"; on {machines[0]}" if machines else ""
    if len(machines) > 1:
        where = f"; on different machines, so they do not compare: {' | '.join(machines)}"
    counts = sorted({sum(run.score is not None for run in row.runs) for row in rows if row.step_seconds is not None})
    count = "-".join(map(str, counts[:: max(1, len(counts) - 1)]))
    return (
        f"time a step: the median of each optimizer's {count} finished runs (each the median of its steps), and the "
        f"fastest and slowest of these runs{where}."
    )


def show_point(point: Point, task: TaskFacts) -> str:
    """Mean and standard deviation: `98.0 ± 0.2 %`, `2.78 ± 0.01`; "" if no seed finished."""
    if point.mean is None:
        return ""
    if point.sd is None:
        return task.show(point.mean)
    if task.percent:
        return f"{100 * point.mean:.1f} ± {100 * point.sd:.1f} %"
    digits = _decimals(point.sd)
    return f"{point.mean:.{digits}f} ± {point.sd:.{digits}f}"


def _decimals(sd: float) -> int:
    """Decimals that show a spread to two digits."""
    return min(8, max(0, 1 - math.floor(math.log10(sd)))) if sd > 0 else 4


def _row(name: str, runs: list[Run], task: TaskFacts) -> Row:
    points = tuple(_point(lr, tuple(run for run in runs if run.lr == lr)) for lr in sorted({run.lr for run in runs}))
    best = _best(points, task)
    finished = [run for run in best.runs if run.score is not None] if best is not None else []
    crossings = [crossing for run in finished if (crossing := _crossing(run, task)) is not None]
    times = [run.step_seconds for run in runs if run.score is not None and run.step_seconds is not None]
    sizes = [run.state_bytes for run in finished if run.state_bytes is not None]
    return Row(
        rank=0,
        tied=False,
        optimizer=name,
        points=points,
        best=best,
        edge=_edge(points, best),
        target_steps=statistics.median_low(steps for steps, _ in crossings) if crossings else None,
        target_seconds=statistics.median_low(seconds for _, seconds in crossings) if crossings else None,
        target_reached=len(crossings),
        step_seconds=statistics.median(times) if times else None,
        step_range=(min(times), max(times)) if len(times) > 1 else None,
        state_bytes=max(sizes) if sizes else None,
        good_lrs=_good_lrs(points, best, task),
    )


def _point(lr: float, runs: tuple[Run, ...]) -> Point:
    scores = [run.score for run in runs if run.score is not None]
    return Point(
        lr=lr,
        runs=runs,
        mean=statistics.fmean(scores) if scores else None,
        sd=statistics.stdev(scores) if len(scores) > 1 else None,
    )


def _best(points: Sequence[Point], task: TaskFacts) -> Point | None:
    scored = [point for point in points if point.mean is not None]
    if not scored:
        return None
    clean = [point for point in scored if point.bad == 0]
    most = max(point.good for point in scored)
    sign = 1 if task.goal == "max" else -1
    return max(
        clean or [point for point in scored if point.good == most],
        key=lambda point: sign * point.mean if point.mean is not None else -math.inf,
    )


def _edge(points: Sequence[Point], best: Point | None) -> str:
    if best is None or len(points) < 3:
        return ""
    return "smallest" if best.lr == points[0].lr else "largest" if best.lr == points[-1].lr else ""


def _crossing(run: Run, task: TaskFacts) -> tuple[int, float] | None:
    if task.target is None:
        return None
    for step, seconds, score in run.evaluations:
        if not task.better(task.target, score):
            return step, seconds
    return None


def _good_lrs(points: Sequence[Point], best: Point | None, task: TaskFacts) -> tuple[float, ...]:
    if best is None or best.mean is None:
        return ()
    start = statistics.fmean(run.evaluations[0][2] for run in best.runs if run.evaluations)
    threshold = start + KEEP * (best.mean - start)
    return tuple(
        point.lr
        for point in points
        if point.mean is not None and point.bad == 0 and not task.better(threshold, point.mean)
    )
