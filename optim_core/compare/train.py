"""One run: train one model with one optimizer, and record it.

Deterministic: the seed fixes the initial weights and the order of the batches, the same for every optimizer.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from optim_core.compare import build
from optim_core.compare.errors import TaskError
from optim_core.compare.plan import Entry
from optim_core.compare.results import Run
from optim_core.compare.task import Task

#: Steps at the beginning whose time is not counted: allocators, caches and compilers warm up there.
WARM_UP = 5
#: A run has diverged when its loss, as a mean over WINDOW steps, is FAR times its size at the start above the start.
FAR = 20.0
WINDOW = 10
#: Points of a loss curve that are kept.
POINTS = 400

#: Called after every step and evaluation with the step, the loss and the latest score.
Watcher = Callable[[int, float, float], None]


class _Diverged(Exception):
    pass


def train(
    task: Task,
    entry: Entry,
    *,
    epochs: int,
    steps: int | None = None,
    device: str = "cpu",
    watch: Watcher | None = None,
) -> Run:
    """Make one run.

    Args:
        epochs: passes over the task's batches; each ends with an evaluation.
        steps: if given, the number of steps, however many epochs that takes.
        watch: told of the progress.

    Returns:
        The record. Divergence and errors are outcomes, told by its `status` and `message`.
    """
    record = _Record()
    try:
        with _seeded(entry.seed):
            _train(task, entry, record, epochs, steps, torch.device(device), watch or (lambda step, loss, score: None))
    except _Diverged as reason:
        return record.run(entry, "diverged", f"step {record.steps}: {reason}")
    except Exception as cause:  # noqa: BLE001 - whatever fails in one run must not take the others along
        return record.run(entry, "failed", f"{type(cause).__name__}: {cause}")
    return record.run(entry, "ok", "")


class _Record:
    """What is known of a run so far."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.seconds: list[float] = []
        self.evaluations: list[tuple[int, float, float]] = []
        self.state_bytes: int | None = None

    @property
    def steps(self) -> int:
        return len(self.losses)

    def run(self, entry: Entry, status: str, message: str) -> Run:
        timed = self.seconds[WARM_UP:] or self.seconds
        return Run(
            optimizer=entry.contender.label,
            lr=entry.lr,
            seed=entry.seed,
            revision=entry.revision,
            status=status,  # type: ignore[arg-type]  # one of the three literals above
            message=message,
            steps=self.steps,
            losses=tuple(_thin(self.losses)),
            evaluations=tuple(self.evaluations),
            step_seconds=_digits(statistics.median(timed)) if timed else None,
            state_bytes=self.state_bytes,
        )


def _train(
    task: Task, entry: Entry, record: _Record, epochs: int, steps: int | None, device: torch.device, watch: Watcher
) -> None:
    model = task.model().to(device)
    optimizer = build.build(entry.contender, model, entry.lr)
    torch.manual_seed(entry.seed)  # drop-out draws alike, whatever the model's and the optimizer's making has drawn
    _evaluate(task, model, record)
    try:
        for epoch in range(epochs) if steps is None else itertools.count():
            model.train()
            before = record.steps
            for batch in task.batches(entry.seed, epoch):
                _step(task, entry, model, optimizer, batch, record, device)
                watch(record.steps, record.losses[-1], record.evaluations[-1][2])
                if record.steps == steps:
                    break
            if record.steps == before:
                raise TaskError(f"task {task.name!r}: batches({entry.seed}, {epoch}) is empty")
            with build.evaluating(optimizer):
                _evaluate(task, model, record)
            watch(record.steps, record.losses[-1], record.evaluations[-1][2])
            if record.steps == steps:
                break
    finally:
        record.state_bytes = build.state_bytes(optimizer)


def _step(
    task: Task,
    entry: Entry,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: object,
    record: _Record,
    device: torch.device,
) -> None:
    seen: list[Tensor] = []  # the first value is the loss at the weights; SAM's second is at perturbed ones

    def closure() -> Tensor | Sequence[Tensor]:
        if entry.several_losses and task.losses is not None:
            losses = list(task.losses(model, batch))
            seen.append(losses[0].detach())
            return losses
        loss = task.loss(model, batch)
        seen.append(loss.detach())
        return loss

    start = time.perf_counter()
    build.minimize(optimizer, closure)
    if device.type != "cpu":
        torch.accelerator.synchronize()
    record.seconds.append(time.perf_counter() - start)
    record.losses.append(seen[0].item())
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
    record.evaluations.append((record.steps, _digits(sum(record.seconds)), _digits(score)))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """torch's global generators start from the seed, and are afterwards as they were."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _thin(losses: list[float]) -> Iterator[tuple[int, float]]:
    """Means over equal windows; the last step of a window stands for it."""
    finite = losses if not losses or math.isfinite(losses[-1]) else losses[:-1]
    window = math.ceil(len(finite) / POINTS) or 1
    for start in range(0, len(finite), window):
        piece = finite[start : start + window]
        yield start + len(piece), _digits(statistics.fmean(piece))


def _digits(value: float) -> float:
    """Six digits: enough for every use, a third of the file."""
    return float(f"{value:.6g}")
