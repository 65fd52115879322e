"""The record of a run, and `results.json`.

The file, schema 1, is one JSON object:

    schema        1
    environment   versions of python, torch, optim_core and its packs; device; threads; platform
    setup         what all runs share: the task and a hash of its source, epochs or steps, device, threads,
                  versions of torch and python
    task          how to read the scores: name, about, metric, goal ("max" or "min"), percent, target (a score, or null)
    runs          a list of objects:
        optimizer      canonical text, for example "sgd,momentum=0.9+lookahead,k=5"
        lr, seed       numbers
        revision       hash of the method's source files
        status         "ok", "diverged" or "failed"
        message        where and why it diverged, or the error; "" if ok
        steps          steps taken
        losses         [[step, training loss], ...]: means over windows, at most 400 points
        evaluations    [[step, seconds, score], ...]: the first before any step; seconds are those of the steps alone
        traceback      of the error, if it failed; else ""
        step_seconds   median wall time of a step, without evaluation and the first steps; null if none was taken
        machine        where its times were taken: "x86_64, AMD EPYC 7B13, 2 cores, 1 thread"
        state_bytes    bytes of optimizer state at the end; null if the run failed

A folder holds one comparison, and grows: finished runs are kept, whatever is compared later, or at the same time by
another process, here or on another machine: each run is put into the file as it then is. All numbers are finite.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from filelock import SoftFileLock, Timeout

from optim_core.compare.errors import ResultsError

SCHEMA = 1
FILE = "results.json"
#: Seconds to wait for another comparison to write its run or its report.
PATIENCE = 60.0

Status = Literal["ok", "diverged", "failed"]
Key = tuple[str, float, int]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One optimizer at one learning rate with one seed; the fields are those of `results.json`."""

    optimizer: str
    lr: float
    seed: int
    revision: str = ""
    status: Status = "ok"
    message: str = ""
    traceback: str = ""
    steps: int = 0
    losses: tuple[tuple[int, float], ...] = ()
    evaluations: tuple[tuple[int, float, float], ...] = ()
    step_seconds: float | None = None
    machine: str = ""
    state_bytes: int | None = None

    @property
    def key(self) -> Key:
        """The key of this run, unique in its comparison."""
        return (self.optimizer, self.lr, self.seed)

    @property
    def score(self) -> float | None:
        """The last evaluation; None unless the run went to its end."""
        return self.evaluations[-1][2] if self.status == "ok" and self.evaluations else None


@dataclass(frozen=True, kw_only=True)
class TaskFacts:
    """A task's name and how to read its scores."""

    name: str
    about: str
    metric: str
    goal: Literal["max", "min"]
    percent: bool
    target: float | None

    def better(self, a: float, b: float) -> bool:
        """Return whether score a beats score b."""
        return a > b if self.goal == "max" else a < b

    def show(self, score: float, digits: int | None = None) -> str:
        """A score for people: `98.3 %` or `2.781`."""
        if self.percent:
            return f"{100 * score:.{1 if digits is None else digits}f} %"
        return f"{score:.4g}" if digits is None else f"{score:.{digits}f}"


@dataclass
class Results:
    """A comparison on disk: `open_folder` it, then `add` runs; each is written at once."""

    folder: Path
    environment: Mapping[str, Any]
    setup: Mapping[str, Any]
    task: TaskFacts
    runs: dict[Key, Run] = field(default_factory=dict)

    def finished(self, key: Key, revision: str) -> bool:
        """Return whether a run need not be repeated: with the same source, it went to its end or diverged."""
        run = self.runs.get(key)
        return run is not None and run.revision == revision and run.status != "failed"

    def add(self, run: Run) -> None:
        """File a run, in place of an earlier one of the same key, and write the file.

        Raises:
            ResultsError: the folder has been given to another comparison meanwhile.
        """
        with locked(self.folder):
            self.refresh()
            self.runs[run.key] = run
            self.save()

    def refresh(self) -> None:
        """Take over the runs that the file has now; a file that has gone is written anew by the next `save`.

        Raises:
            ResultsError: the folder has been given to another comparison meanwhile.
        """
        there = load(self.folder)
        if there is not None:
            _check_same(there, self.setup)
            self.runs = there.runs

    def save(self) -> None:
        """Write `results.json`; whoever reads it meanwhile sees the old file or the new one, whole."""
        head = {
            "schema": SCHEMA,
            "environment": dict(self.environment),
            "setup": dict(self.setup),
            "task": asdict(self.task),
        }
        runs = ",\n".join(json.dumps(asdict(run), allow_nan=False) for run in self.runs.values())  # a run a line
        text = json.dumps(head, indent=1, allow_nan=False).removesuffix("\n}") + f',\n "runs": [\n{runs}\n]\n}}\n'
        write_atomically(self.folder / FILE, text)


def write_atomically(path: Path, text: str) -> None:
    """Write beside the file, then rename: an interruption leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(0o644)  # mkstemp makes files for the owner alone
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other comparisons from writing into a folder.

    The lock is a file that exists, so that it holds on network file systems too, and goes with the lock.

    Raises:
        ResultsError: another comparison has held it for a minute.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{FILE}.lock"
    try:
        with SoftFileLock(path, timeout=PATIENCE):
            yield
    except Timeout as cause:
        raise ResultsError(
            f"another comparison is writing into {folder}. If none is running, one was killed just then: rm {path}"
        ) from cause


def load(folder: Path) -> Results | None:
    """Read the comparison in a folder; None if there is none.

    Raises:
        ResultsError: the file is not a results file, or has another schema.
    """
    path = folder / FILE
    if not path.exists():
        return None
    remedy = "Choose another --out, or discard it with --fresh."
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        schema = content["schema"]
        if schema != SCHEMA:
            raise ResultsError(f"{path} has schema {schema}; this optim-core reads {SCHEMA}. {remedy}")
        runs = [_run(record) for record in content["runs"]]
        return Results(
            folder=folder,
            environment=content["environment"],
            setup=content["setup"],
            task=TaskFacts(**content["task"]),
            runs={run.key: run for run in runs},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as cause:
        raise ResultsError(f"{path} is not a results file ({type(cause).__name__}: {cause}). {remedy}") from cause


def _run(record: Mapping[str, Any]) -> Run:
    known = {f.name for f in fields(Run)}
    values = {name: value for name, value in record.items() if name in known}
    for name in ("losses", "evaluations"):
        values[name] = tuple(tuple(point) for point in values[name])
    return Run(**values)


def open_folder(
    folder: Path, environment: Mapping[str, Any], setup: Mapping[str, Any], task: TaskFacts, *, fresh: bool = False
) -> Results:
    """Continue the comparison in a folder, or start one; its file is written, so that one that cannot be is an error.

    Raises:
        ResultsError: the folder holds a comparison of another setup, whose runs cannot be compared with the new ones.
    """
    results = Results(folder=folder, environment=environment, setup=setup, task=task)
    if not fresh:
        results.refresh()  # before the lock: nothing is written beside a file that is refused
    with locked(folder):
        if not fresh:
            results.refresh()
        results.save()
    return results


def _check_same(there: Results, setup: Mapping[str, Any]) -> None:
    names = sorted({*there.setup, *setup})
    differing = [name for name in names if there.setup.get(name) != setup.get(name)]
    if differing:
        changes = ", ".join(f"{name} {there.setup.get(name)!r} there, {setup.get(name)!r} now" for name in differing)
        raise ResultsError(
            f"{there.folder / FILE} holds another comparison ({changes}); its runs cannot be compared with these. "
            "Choose another --out, or discard it with --fresh."
        )
