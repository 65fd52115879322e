"""The course of a scheduler without any training: the example of its spec, run."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.optimizer import Optimizer

from optim_core.catalog.registry import load_class
from optim_core.catalog.specs import SchedulerSpec
from optim_core.schedules.option import option_of

#: The lr and the second beta of the optimizer that :func:`rates` runs a schedule on.
BASE_LR, BETA2 = 1.0, 0.95


def example(spec: SchedulerSpec, optimizer: Optimizer, **options: Any) -> LRScheduler:
    """The scheduler of a spec's example.

    Args:
        spec: the scheduler's.
        optimizer: the optimizer to schedule.
        options: options that replace the example's.

    Returns:
        The scheduler around the optimizer.

    Example:
        >>> spec = SchedulerSpec(
        ...     name="ramp",
        ...     target="torch.optim.lr_scheduler:LinearLR",
        ...     summary="Up.",
        ...     license="BSD-3-Clause",
        ...     example="total_iters=100",
        ... )
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.3)
        >>> example(spec, optimizer, start_factor=0.5).get_last_lr()
        [0.15]
    """
    names = {"optimizer": optimizer, "torch": torch}
    defaults = eval(f"dict({spec.example})", names)  # noqa: S307 - the pack's own text, whose class is imported next
    scheduler: LRScheduler = load_class(spec)(optimizer, **{**defaults, **options})
    return scheduler


def advance(spec: SchedulerSpec, scheduler: Any, metric: float | None) -> None:
    """Take one step of a scheduler; those that need a metric get this one."""
    if "metric" in spec.needs:
        scheduler.step(metric)
    else:
        scheduler.step()


def trial_group(spec: SchedulerSpec, **entries: Any) -> dict[str, Any]:
    """A parameter group to try a scheduler on, whatever option it sets."""
    of_betas = spec.sets.startswith("beta")
    return {"params": [torch.nn.Parameter(torch.ones(1))], **({} if of_betas else {spec.sets: BASE_LR}), **entries}


def values(spec: SchedulerSpec, optimizer: Optimizer) -> list[float]:
    """What is in force in each group of what a scheduler sets."""
    return [float(group["lr"]) for group in option_of(optimizer, spec.sets).param_groups]


def rates(spec: SchedulerSpec, steps: int, **options: Any) -> list[float]:
    """The values that the example sets at steps 1, 2, ..., for :data:`BASE_LR` and :data:`BETA2`.

    A metric, where one is needed, never improves.
    """
    optimizer = torch.optim.Adam([trial_group(spec, lr=BASE_LR)], lr=BASE_LR, betas=(0.9, BETA2))
    scheduler = example(spec, optimizer, **options)
    seen = values(spec, optimizer)
    while len(seen) < steps:
        optimizer.step()
        advance(spec, scheduler, metric=1.0)
        seen += values(spec, optimizer)
    return seen
