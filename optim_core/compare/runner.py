"""A comparison from its settings to its files: every run in turn, and what is done stays done."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from optim_core.compare import plan
from optim_core.compare.build import source_hash
from optim_core.compare.console import watching
from optim_core.compare.environment import environment
from optim_core.compare.errors import PlanError
from optim_core.compare.plan import Entry
from optim_core.compare.results import Results, TaskFacts, open_folder
from optim_core.compare.task import Task, load_task
from optim_core.compare.train import train


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is asked for on the command line; `optim-core compare --help` has the meanings."""

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
    """How a comparison ended."""

    results: Results
    planned: int
    skipped: int
    done: int
    interrupted: bool

    @property
    def note(self) -> str:
        """What to say of a comparison that is not whole; "" if it is."""
        if not self.interrupted:
            return ""
        return (
            f"Interrupted after {self.skipped + self.done} of {self.planned} runs. What was done is kept; "
            "the same command continues."
        )


def run(settings: Settings, console: Console) -> Outcome:
    """Run a comparison; runs that its folder already holds are not repeated.

    Raises:
        OptimCoreError: the comparison cannot be made as asked. Once runs have begun nothing is raised: what goes wrong
            in one of them is its outcome.
    """
    torch.set_num_threads(settings.threads)
    try:
        torch.device(settings.device)
    except RuntimeError as cause:
        raise PlanError(f"no device {settings.device!r}: {cause}") from cause
    contenders, left_out = plan.named(settings.optimizers)
    for reason in left_out:
        console.print(f"left out: {reason}", style="yellow", markup=False)
    task = load_task(settings.task, settings.device)
    entries = plan.entries(task, contenders, lrs=settings.lrs, n_lrs=settings.n_lrs, seeds=settings.seeds)
    plan.rehearse(task, settings.device, several_losses=any(entry.several_losses for entry in entries))
    results = open_folder(
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
    results.save()  # a folder that cannot be written is found out now
    return _run_all(settings, task, entries, results, console)


def _run_all(settings: Settings, task: Task, entries: Sequence[Entry], results: Results, console: Console) -> Outcome:
    missing = [entry for entry in entries if not results.finished(entry.key, entry.revision)]
    done = 0
    interrupted = False
    length = settings.steps
    try:
        with watching(console, len(missing), results.task) as watch:
            for entry in missing:
                watch.begin(entry, length)
                made = train(
                    task,
                    entry,
                    epochs=settings.epochs or task.epochs,
                    steps=settings.steps,
                    device=settings.device,
                    watch=watch.step,
                )
                results.add(made)
                watch.end(made)
                done += 1
                length = made.steps if made.status == "ok" else length
    except KeyboardInterrupt:
        interrupted = True
    return Outcome(
        results=results,
        planned=len(entries),
        skipped=len(entries) - len(missing),
        done=done,
        interrupted=interrupted,
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
