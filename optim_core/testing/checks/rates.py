"""Learning rates that are zero, change in mid-run, lie in tensors, and differ among groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import lr_scheduler

from optim_core.testing.check import NotApplicable, check, require
from optim_core.testing.checks.construction import is_optimizer
from optim_core.testing.small import STEPS, close, copies, equal, finite
from optim_core.testing.subject import Subject


def takes_lr(subject: Any) -> bool:
    """An optimizer with an lr, its own or its base's."""
    return is_optimizer(subject) and (subject.kind == "wrapper" or "lr" in subject.defaults)


def _with_lr_zero(subject: Subject, params: Sequence[Tensor]) -> Any:
    """An optimizer with lr = 0 before its first step, set as a scheduler does where the constructor refuses it."""
    try:
        return subject.build(params, lr=0.0)
    except Exception:  # noqa: BLE001 - refusals come in many classes, assertions too
        optimizer = subject.build(params)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    return optimizer


@check(takes_lr)
def check_lr_zero_stands_still(subject: Subject) -> None:
    """With lr = 0, as a linear warm-up begins, nothing moves; with the usual lr afterwards, everything does.

    Remedy: multiply every part of the update by ``group["lr"]``, read it at each step, and divide by no sum of lrs.
    """
    params = subject.params((3, 4), (5,), *([()] if subject.is_declared else []))  # shapes have a check of their own
    optimizer = _with_lr_zero(subject, params)
    before = copies(params)
    subject.train(optimizer, params, 2)
    require(finite(params), "with lr = 0 parameters become infinite or not a number")
    require(equal(before, params), "with lr = 0 parameters move")
    for group in optimizer.param_groups:
        group["lr"] = subject.usual_lr
    subject.train(optimizer, params)
    require(finite(params), "parameters are infinite or not a number some steps after lr = 0")
    require(not equal(before, params), "after steps with lr = 0 the parameters never move again")


@check(lambda subject: takes_lr(subject) and subject.kind == "optimizer")
def check_scheduled_lr_counts(subject: Subject) -> None:
    """An lr that a schedule sets to 0 in one group holds that group from the next step on, and no other.

    Remedy: read ``group["lr"]`` in step(), not ``self.lr`` or the default.
    """
    params = subject.params()
    if not subject.takes_groups:
        raise NotApplicable("it takes one group only")
    optimizer = subject.build([{"params": params[:1]}, {"params": params[1:]}])
    optimizer.param_groups[1]["lr"] = 0.0  # before its first step: averages of earlier ones may go on moving it
    before = copies(params)
    subject.train(optimizer, params)
    require(not equal(before[:1], params[:1]), "a group whose lr is not 0 stands still")
    require(equal(before[1:], params[1:]), "a group moves though its lr has been set to 0")


def _has_momentum(optimizer: Any) -> bool:
    return "momentum" in optimizer.defaults or len(optimizer.defaults.get("betas") or ()) == 2


SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "StepLR": lambda o: lr_scheduler.StepLR(o, 2),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS),
    "LinearLR": lambda o: lr_scheduler.LinearLR(o, start_factor=0.1),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=STEPS + 1, cycle_momentum=_has_momentum(o)),
}


@check(takes_lr)
def check_torch_s_schedulers_drive_it(subject: Subject) -> None:
    """torch's schedulers change its lr, and what they cycle with it, between steps.

    Remedy: keep ``lr`` (and ``momentum`` or ``betas``) as plain numbers in each group, and read them in step().
    """
    for name, scheduled in SCHEDULERS.items():
        params = subject.params()
        optimizer = subject.build(params)
        for group in optimizer.param_groups:
            require(isinstance(group["lr"], (int, float)), f"a group's lr is {group['lr']!r}, not a number")
        try:
            scheduler, seen = scheduled(optimizer), set()
            for t in range(STEPS):
                subject.train(optimizer, params, range(t, t + 1))
                seen.add(float(optimizer.param_groups[0]["lr"]))
                scheduler.step()
        except Exception as error:
            raise RuntimeError(f"under {name}: {error}") from error
        require(finite(params), f"under {name} parameters are infinite or not a number")
        require(len(seen) > 1, f"under {name} the lr stays {seen}")


@check(takes_lr)
def check_lr_may_be_a_tensor(subject: Subject) -> None:
    """An lr in a tensor does what the same number does, or is refused by the constructor.

    Remedy: ``float(group["lr"])`` where a number is needed; no ``if lr`` that keeps the first value.
    """
    lr, ends = subject.usual_lr, []
    for given in (lr, torch.tensor(lr, dtype=torch.float64)):
        torch.manual_seed(0)
        params = subject.params()
        try:
            optimizer = subject.build(params, lr=given)
        except (ValueError, TypeError) as refusal:
            raise NotApplicable(f"it refuses an lr in a tensor: {refusal}") from None
        subject.train(optimizer, params, 4)
        ends.append(params)
    require(close(ends[0], ends[1]), "an lr in a tensor leads elsewhere than the same number")
