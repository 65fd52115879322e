"""Schedulers: of torch's kind, resumed in mid-run, and the same for every group."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler

from optim_core import schedules
from optim_core.catalog.specs import SchedulerSpec
from optim_core.testing.check import check, fail, require
from optim_core.testing.small import reloaded
from optim_core.testing.subject import Subject


def is_scheduler(subject: Any) -> bool:
    """A scheduler whose spec has an example to build it by."""
    return isinstance(subject, Subject) and isinstance(subject.spec, SchedulerSpec)


def _built(subject: Subject, *lrs: Any, **options: Any) -> tuple[Any, Any]:
    spec: Any = subject.spec
    groups = [schedules.trial_group(spec, lr=lr) for lr in lrs or (0.1, 0.01)]
    optimizer = torch.optim.Adam(groups, foreach=False)
    return optimizer, schedules.example(spec, optimizer, **{**subject.options, **options})


def _rates(subject: Subject, optimizer: Any, scheduler: Any, steps: int) -> list[list[float]]:
    """What is in force at each of the next steps. A metric gets better, and then no more."""
    spec: Any = subject.spec
    seen = []
    for n in range(steps):
        seen.append(schedules.values(spec, optimizer))
        optimizer.step()
        schedules.advance(spec, scheduler, metric=max(0.5, 1 - 0.1 * n))
    return seen


@check(is_scheduler, steps=False)
def check_is_a_scheduler_of_torch(subject: Subject) -> None:
    """It is an LRScheduler: it counts steps, and get_last_lr() tells what is in force.

    Remedy: derive from torch.optim.lr_scheduler.LRScheduler, and call its ``step``.
    """
    optimizer, scheduler = _built(subject)
    require(isinstance(scheduler, LRScheduler), f"it makes a {type(scheduler).__name__}")
    _rates(subject, optimizer, scheduler, 8)
    last, now = scheduler.get_last_lr(), [group["lr"] for group in optimizer.param_groups]
    spec: Any = subject.spec
    require(last in (now, schedules.values(spec, optimizer)), f"get_last_lr() says {last}, in force is {now}")
    require(scheduler.last_epoch == 8, f"after 8 steps, last_epoch is {scheduler.last_epoch}")


@check(is_scheduler, steps=False)
def check_example_shows_a_schedule(subject: Subject) -> None:
    """The example of its spec builds a schedule whose values, over a hundred steps, change and never are negative.

    Remedy: ``example="total_steps=100"`` in the manifest: keyword arguments as they would be written in a call.
    """
    spec: Any = subject.spec
    drawn = schedules.rates(spec, 100, **subject.options)
    require(len(set(drawn)) > 1, f"{spec.sets} stays {drawn[0]} for all 100 steps")
    require(all(rate >= 0 for rate in drawn), f"{spec.sets} falls to {min(drawn)}")


@check(is_scheduler, steps=False)
def check_schedule_resumes_in_mid_run(subject: Subject) -> None:
    """A scheduler that loads a saved state goes on as the saved one does; torch.load(weights_only=True) reads it.

    Remedy: keep what ``step`` depends on in plain attributes; torch's ``state_dict`` takes all but the optimizer.
    """
    optimizer, scheduler = _built(subject)
    _rates(subject, optimizer, scheduler, 15)
    saved = reloaded({"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()})
    other, resumed = _built(subject)
    other.load_state_dict(saved["optimizer"])
    resumed.load_state_dict(saved["scheduler"])
    same = _rates(subject, other, resumed, 60) == _rates(subject, optimizer, scheduler, 60)
    require(same, "after loading its state it sets other values")


@check(lambda subject: is_scheduler(subject) and subject.spec.sets == "lr", steps=False)
def check_each_group_keeps_its_own_rate(subject: Subject) -> None:
    """Each group's lr follows from its own: what the first group does depends on no other group.

    Remedy: compute from ``self.base_lrs``, an lr for each group, and return a list from ``get_lr``.
    """
    both = _rates(subject, *_built(subject, 0.1, 0.01), 50)
    alone = _rates(subject, *_built(subject, 0.1), 50)
    require([row[:1] for row in both] == alone, "the lr of a group changes when there is another group")


@check(is_scheduler, steps=False)
def check_schedule_refuses_misspelt_options(subject: Subject) -> None:
    """An option that it does not have is refused with a TypeError, never swallowed.

    Remedy: take no ``**kwargs`` in the constructor.
    """
    try:
        _built(subject, no_such_option=1)
    except TypeError:
        return
    fail("no_such_option=1 is accepted without a word")
