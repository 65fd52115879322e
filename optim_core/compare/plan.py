"""Which runs there will be, and whether they can be."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from optim_core.compare import build
from optim_core.compare.contender import Contender, parse
from optim_core.compare.errors import PlanError, TaskError
from optim_core.compare.results import Key
from optim_core.compare.task import Task
from optim_core.errors import OptimCoreError

#: One from each of five packs; those that are not installed are left out.
DEFAULT = ("sgd,momentum=0.9", "adamw", "lion", "sophiah", "sgd,momentum=0.9+sam")
#: What is left where no pack is installed.
FALLBACK = ("torch:sgd,momentum=0.9", "torch:adamw")


@dataclass(frozen=True)
class Entry:
    """A run to be made."""

    contender: Contender
    lr: float
    seed: int
    revision: str
    several_losses: bool

    @property
    def key(self) -> Key:
        """What the run will be filed under."""
        return (self.contender.label, self.lr, self.seed)


def named(texts: Sequence[str]) -> tuple[list[Contender], list[str]]:
    """Read and look up the contenders.

    Returns:
        The contenders, and for the default list the reasons why some of it is left out.

    Raises:
        OptimCoreError: a text cannot be read, or a name in it not be had.
        PlanError: one contender is named twice.
    """
    if not texts:
        return _default()
    contenders = [build.resolve(parse(text)) for text in texts]
    labels = [contender.label for contender in contenders]
    for label in labels:
        if labels.count(label) > 1:
            raise PlanError(
                f"{label} is named {labels.count(label)} times. Name it once; several learning rates go into one: "
                f"{label.partition('+')[0]},lr=(0.001,0.01)"
            )
    return contenders, []


def _default() -> tuple[list[Contender], list[str]]:
    contenders, left_out = [], []
    for text in DEFAULT:
        try:
            contenders.append(build.resolve(parse(text)))
        except OptimCoreError as reason:
            left_out.append(f"{text}: {reason}")
    return contenders or [build.resolve(parse(text)) for text in FALLBACK], left_out


def entries(
    task: Task, contenders: Sequence[Contender], *, lrs: Sequence[float] = (), n_lrs: int = 4, seeds: int = 3
) -> list[Entry]:
    """All runs, seed by seed, so that an interrupted comparison has seen every contender equally often.

    Args:
        lrs: learning rates for all; a contender's own (`adamw,lr=0.01`) come first, the declared range last.
        n_lrs: how many learning rates are spread over a declared range.

    Raises:
        PlanError: a contender needs several losses and the task has one.
        OptimCoreError: an option does not exist or is out of range.
    """
    made = []
    for contender in contenders:
        needed = build.needs(contender)
        several = "multi_loss" in needed
        if several and task.losses is None:
            raise PlanError(
                f"{contender.label}: {needed['multi_loss']!r} balances several losses, and the task {task.name!r} has "
                "one. Give the Task a function `losses`, or take --task digits."
            )
        tried = contender.lrs or tuple(lrs) or build.default_lrs(contender, n_lrs)
        _try_options(task, contender, tried[0])
        revision = build.revision(contender)
        made.append([Entry(contender, lr, 0, revision, several) for lr in tried])
    return [replace(entry, seed=seed) for seed in range(seeds) for mine in made for entry in mine]


def _try_options(task: Task, contender: Contender, lr: float) -> None:
    """Options that do not exist are reported now; what else goes wrong belongs to the run and becomes its row."""
    try:
        with torch.random.fork_rng():
            build.build(contender, task.model(), lr)
    except OptimCoreError:
        raise
    except TypeError as cause:  # how torch's own classes say it
        raise PlanError(f"{contender.label}: {cause}") from cause
    except Exception:  # noqa: BLE001 - the run will meet it again and record it
        return


def rehearse(task: Task, device: str, *, several_losses: bool) -> None:
    """Go once through everything that a task promises, before the first run.

    Raises:
        TaskError: something it returns is not what `Task` asks for; the text says what it was.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = _call(task, "model")
        if not isinstance(model, nn.Module):
            raise _wrong(task, "model()", "a torch.nn.Module", model)
        model.to(device)
        model.eval()
        with torch.no_grad():
            score = _call(task, "evaluate", model)
        if not isinstance(score, numbers.Real):
            raise _wrong(task, "evaluate(model)", "a number (call .item() on a tensor)", score)
        model.train()
        batch = _first_batch(task)
        _check_loss(task, "loss(model, batch)", _call(task, "loss", model, batch))
        if several_losses:
            losses = _call(task, "losses", model, batch)
            if not isinstance(losses, list | tuple) or len(losses) < 2:
                raise _wrong(task, "losses(model, batch)", "a list of two losses or more", losses)
            for loss in losses:
                _check_loss(task, "an item of losses(model, batch)", loss)


def _first_batch(task: Task) -> Any:
    batches = _call(task, "batches", 0, 0)
    try:
        return next(iter(batches))
    except TypeError as cause:
        raise _wrong(task, "batches(seed, epoch)", "something to loop over", batches) from cause
    except StopIteration as cause:
        raise TaskError(f"task {task.name!r}: batches(0, 0) is empty; it must yield one batch at least") from cause


def _check_loss(task: Task, what: str, loss: object) -> None:
    if not isinstance(loss, torch.Tensor) or loss.dim() != 0 or not loss.requires_grad:
        raise _wrong(task, what, "a 0-dimensional tensor that depends on the model's parameters", loss)


def _call(task: Task, name: str, *arguments: object) -> Any:
    try:
        return getattr(task, name)(*arguments)
    except Exception as cause:
        raise TaskError(f"task {task.name!r}: {name}() failed with {type(cause).__name__}: {cause}") from cause


def _wrong(task: Task, what: str, wanted: str, got: object) -> TaskError:
    if isinstance(got, torch.Tensor):
        graph = "with" if got.requires_grad else "without"
        shown = f"a tensor of shape {tuple(got.shape)} {graph} a graph"
    else:
        shown = f"{type(got).__name__} ({str(got)[:60]})"
    return TaskError(f"task {task.name!r}: {what} must be {wanted}, got {shown}")
