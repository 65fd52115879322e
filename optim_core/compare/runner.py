"""A comparison from its settings to its files: run after run, each saved once it is done."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from optim_core.compare import plan, rehearsal
from optim_core.compare.build import source_hash
from optim_core.compare.console import progress_bars
from optim_core.compare.environment import environment
from optim_core.compare.errors import PlanError
from optim_core.compare.plan import PlannedRun
from optim_core.compare.results import Results, TaskFacts, open_folder
from optim_core.compare.task import Task
from optim_core.compare.task_loading import load_task
from optim_core.compare.train import train


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of the command line, as `optim-core compare --help` explains them."""

    optimizers: Sequence[str] = ()
    task: str = "digits"
    lrs: Sequence[float] = ()
    n_lrs: int = 4
    seeds: int = 3
    epochs: int | None = None
    steps: int | None = None
    target: float | None = None
    out: Path | None = None
    fresh: bool = False
    device: str = "cpu"
    threads: int = 1


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a comparison ended; ``labels`` are the contenders that were asked for, the folder may have more."""

    results: Results
    planned: int
    skipped: int
    done: int
    interrupted: bool
    labels: Sequence[str]

    @property
    def note(self) -> str:
        """A remark on an interrupted comparison; "" if it was not."""
        if not self.interrupted:
            return ""
        return (
            f"Interrupted after {self.skipped + self.done} of {self.planned} runs. Finished runs are kept; "
            "the same command continues."
        )


def run_comparison(settings: Settings, console: Console) -> Outcome:
    """Run a comparison; runs that its folder already holds are not repeated.

    Raises:
        OptimCoreError: the comparison cannot be made as asked, or its folder is given to another one meanwhile. What
            goes wrong in a run is its outcome, and raises nothing.
    """
    torch.set_num_threads(settings.threads)
    try:
        torch.device(settings.device)
    except RuntimeError as cause:
        raise PlanError(f"no device {settings.device!r}: {cause}") from cause
    contenders, omissions = plan.read_contenders(settings.optimizers)
    for reason in omissions:
        console.print(f"left out: {reason}", style="yellow", markup=False)
    task = load_task(settings.task, settings.device)
    runs = plan.plan_runs(task, contenders, lrs=settings.lrs, n_lrs=settings.n_lrs, seeds=settings.seeds)
    rehearsal.rehearse(task, settings.device, several_losses=any(planned.several_losses for planned in runs))
    results = _open_results(settings, task)
    return _run_all(settings, task, runs, results, console)


def _open_results(settings: Settings, task: Task) -> Results:
    return open_folder(
        settings.out or Path(f"compare-{_file_name(task.name)}"),
        environment(settings.device, settings.threads),
        _setup(settings, task),
        TaskFacts(
            name=task.name,
            about=task.about,
            metric=task.metric,
            goal=task.goal,
            percent=task.percent,
            target=task.target if settings.target is None else settings.target,
        ),
        fresh=settings.fresh,
    )


def _run_all(settings: Settings, task: Task, runs: Sequence[PlannedRun], results: Results, console: Console) -> Outcome:
    missing = [planned for planned in runs if not results.finished(planned.key, planned.revision)]
    done = 0
    interrupted = False
    length = settings.steps
    try:
        with progress_bars(console, len(missing), results.task) as bars:
            for planned in missing:
                if results.finished(planned.key, planned.revision):  # by another process meanwhile
                    bars.skip()
                    continue
                bars.begin(planned, length)
                run = train(
                    task,
                    planned,
                    epochs=settings.epochs or task.epochs,
                    steps=settings.steps,
                    device=settings.device,
                    watch=bars.step,
                )
                results.add(run)
                bars.end(run)
                done += 1
                length = run.steps if run.status == "ok" else length
    except KeyboardInterrupt:
        interrupted = True
    return Outcome(
        results=results,
        planned=len(runs),
        skipped=len(runs) - len(missing),
        done=done,
        interrupted=interrupted,
        labels=list(dict.fromkeys(planned.contender.label for planned in runs)),
    )


def _setup(settings: Settings, task: Task) -> dict[str, str | int | None]:
    return {
        "task": settings.task,
        "task_revision": source_hash(task.loss),
        "epochs": (settings.epochs or task.epochs) if settings.steps is None else None,
        "steps": settings.steps,
        "device": settings.device,
        "threads": settings.threads,
        "torch": torch.__version__,
        "python": sys.version.split()[0],
    }


def _file_name(name: str) -> str:
    return "".join(char if char.isalnum() or char in "-_" else "-" for char in name)
