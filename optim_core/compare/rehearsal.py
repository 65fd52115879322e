"""The rehearsal: everything that a task promises is tried once before the first run."""

from __future__ import annotations

import numbers
from typing import Any

import torch
from torch import nn

from optim_core.compare.errors import TaskError
from optim_core.compare.task import Task


def rehearse(task: Task, device: str, *, several_losses: bool) -> None:
    """Call each function of a task once and check what it returns.

    Raises:
        TaskError: a function failed, or returned something else than `Task` asks for; the text shows it.
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


def _wrong(task: Task, what: str, expected: str, value: object) -> TaskError:
    if isinstance(value, torch.Tensor):
        graph = "with" if value.requires_grad else "without"
        shown = f"a tensor of shape {tuple(value.shape)} {graph} a graph"
    else:
        shown = f"{type(value).__name__} ({str(value)[:60]})"
    return TaskError(f"task {task.name!r}: {what} must be {expected}, got {shown}")
