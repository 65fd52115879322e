"""One run: train one model with one optimizer, and record it.

Deterministic: the seed fixes the initial weights and the order of the batches, the same for every optimizer.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from optim_core.compare import build
from optim_core.compare.environment import machine
from optim_core.compare.errors import TaskError
from optim_core.compare.plan import PlannedRun
from optim_core.compare.results import Run, Status
from optim_core.compare.task import Task

#: The first steps, whose time does not count: allocators, caches and compilers warm up.
WARM_UP = 5
#: A run has diverged when its loss, as a mean over WINDOW steps, is FAR times its size at the start above the start.
FAR = 20.0
WINDOW = 10
#: The largest number of points of a recorded loss curve.
POINTS = 400

#: Called after every step and evaluation with the step, the loss and the latest score.
Watcher = Callable[[int, float, float], None]


class _Diverged(Exception):
    pass


def train(
    task: Task,
    planned: PlannedRun,
    *,
    epochs: int,
    steps: int | None = None,
    device: str = "cpu",
    watch: Watcher | None = None,
) -> Run:
    """Make one run.

    Args:
        task: to train on.
        planned: the run.
        epochs: passes over the task's batches; each ends with an evaluation.
        steps: if given, the number of steps, however many epochs that takes.
        device: of the model, as torch writes devices.
        watch: called with the progress.

    Returns:
        The record. Divergence and errors are outcomes: its `status` and `message`.
    """
    record = _Record()
    try:
        with _seeded_generators(planned.seed):
            _train(task, planned, record, epochs, steps, torch.device(device), watch or _ignore)
    except _Diverged as reason:
        return record.run(planned, "diverged", f"step {record.steps}: {reason}")
    except Exception as cause:  # noqa: BLE001 - whatever fails in one run must not take the others along
        return record.run(planned, "failed", f"{type(cause).__name__}: {cause}", traceback.format_exc())
    return record.run(planned, "ok", "")


def _ignore(step: int, loss: float, score: float) -> None:
    """The watcher that does nothing."""


class _Record:
    """The record of a run in progress."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.seconds: list[float] = []
        self.evaluations: list[tuple[int, float, float]] = []
        self.state_bytes: int | None = None

    @property
    def steps(self) -> int:
        return len(self.losses)

    def run(self, planned: PlannedRun, status: Status, message: str, trace: str = "") -> Run:
        timed = self.seconds[WARM_UP:] or self.seconds
        return Run(
            optimizer=planned.contender.label,
            lr=planned.lr,
            seed=planned.seed,
            revision=planned.revision,
            status=status,
            message=message,
            traceback=trace,
            steps=self.steps,
            losses=tuple(_thin(self.losses)),
            evaluations=tuple(self.evaluations),
            step_seconds=_six_digits(statistics.median(timed)) if timed else None,
            machine=machine(),
            state_bytes=self.state_bytes,
        )


def _train(
    task: Task,
    planned: PlannedRun,
    record: _Record,
    epochs: int,
    steps: int | None,
    device: torch.device,
    watch: Watcher,
) -> None:
    model = task.model().to(device)
    optimizer = build.build(planned.contender, model, planned.lr)
    torch.manual_seed(planned.seed)  # drop-out is the same, however many numbers building model and optimizer has drawn
    _evaluate(task, model, record)
    try:
        for epoch in range(epochs) if steps is None else itertools.count():
            model.train()
            for batch in _batches(task, planned.seed, epoch):
                _step(optimizer, partial(_loss, task, planned, model, batch), record, device)
                watch(record.steps, record.losses[-1], record.evaluations[-1][2])
                if record.steps == steps:
                    break
            with build.evaluation_mode(optimizer):
                _evaluate(task, model, record)
            watch(record.steps, record.losses[-1], record.evaluations[-1][2])
            if record.steps == steps:
                break
    finally:
        record.state_bytes = build.state_bytes(optimizer)


def _batches(task: Task, seed: int, epoch: int) -> Iterator[Any]:
    """The batches of an epoch; an epoch without any is an error of the task."""
    count = 0
    for count, batch in enumerate(task.batches(seed, epoch), start=1):  # noqa: B007 - used after the loop
        yield batch
    if count == 0:
        raise TaskError(f"task {task.name!r}: batches({seed}, {epoch}) is empty")


def _loss(task: Task, planned: PlannedRun, model: nn.Module, batch: object) -> Tensor | Sequence[Tensor]:
    if planned.several_losses and task.losses is not None:
        return list(task.losses(model, batch))
    return task.loss(model, batch)


def _step(
    optimizer: torch.optim.Optimizer,
    loss: Callable[[], Tensor | Sequence[Tensor]],
    record: _Record,
    device: torch.device,
) -> None:
    values: list[Tensor] = []  # the first is the loss at the weights; SAM's second is at perturbed ones

    def closure() -> Tensor | Sequence[Tensor]:
        value = loss()
        values.append((value if isinstance(value, Tensor) else value[0]).detach())
        return value

    start = time.perf_counter()
    build.minimize(optimizer, closure)
    if device.type != "cpu":
        torch.accelerator.synchronize()
    record.seconds.append(time.perf_counter() - start)
    record.losses.append(values[0].item())
    _check_divergence(record.losses)


def _check_divergence(losses: list[float]) -> None:
    if not math.isfinite(losses[-1]):
        raise _Diverged(f"the loss is {losses[-1]}")
    if len(losses) > WINDOW:
        now = statistics.fmean(losses[-WINDOW:])
        if now - losses[0] > FAR * abs(losses[0]):
            raise _Diverged(f"the loss is {now:.3g}, it began at {losses[0]:.3g}")


def _evaluate(task: Task, model: nn.Module, record: _Record) -> None:
    model.eval()
    with torch.no_grad():
        score = float(task.evaluate(model))
    if not math.isfinite(score):
        raise _Diverged(f"the {task.metric} is {score}")
    record.evaluations.append((record.steps, _six_digits(sum(record.seconds)), _six_digits(score)))


@contextmanager
def _seeded_generators(seed: int) -> Iterator[None]:
    """Seed torch's global generators, and restore them afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _thin(losses: list[float]) -> Iterator[tuple[int, float]]:
    """The losses as means over equal windows, each with the last step of its window."""
    finite = losses if not losses or math.isfinite(losses[-1]) else losses[:-1]
    window = math.ceil(len(finite) / POINTS) or 1
    for start in range(0, len(finite), window):
        piece = finite[start : start + window]
        yield start + len(piece), _six_digits(statistics.fmean(piece))


def _six_digits(value: float) -> float:
    """A number with six digits: enough for every use, and a third of the file."""
    return float(f"{value:.6g}")
