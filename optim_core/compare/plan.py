"""The plan: which runs a comparison consists of, and whether they can be made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from optim_core.compare import build
from optim_core.compare.contender import Contender, parse
from optim_core.compare.errors import PlanError
from optim_core.compare.results import Key
from optim_core.compare.task import Task
from optim_core.errors import OptimCoreError

#: One from each of five packs; those that are not installed are left out.
DEFAULT = ("sgd,momentum=0.9", "adamw", "lion", "sophiah", "sgd,momentum=0.9+sam")
#: What is left where no pack is installed.
FALLBACK = ("torch:sgd,momentum=0.9", "torch:adamw")


@dataclass(frozen=True)
class PlannedRun:
    """A run to be made.

    Attributes:
        contender: the optimizer with its wrappers.
        lr: the learning rate.
        seed: of the weights and the batches.
        revision: hash of the source files of its classes.
        several_losses: whether it balances several losses.
    """

    contender: Contender
    lr: float
    seed: int
    revision: str
    several_losses: bool

    @property
    def key(self) -> Key:
        """The key of its results."""
        return (self.contender.label, self.lr, self.seed)


def read_contenders(texts: Sequence[str]) -> tuple[list[Contender], list[str]]:
    """Read the contenders' texts and look their names up; without any text, take the default list.

    Returns:
        The contenders, and for each default that was left out the reason.

    Raises:
        OptimCoreError: a text cannot be read, or a name in it is not available.
        PlanError: one contender is named twice.
    """
    if not texts:
        return _default()
    contenders = [build.resolve(parse(text)) for text in texts]
    labels = [contender.label for contender in contenders]
    for contender in contenders:
        if labels.count(contender.label) > 1:
            raise PlanError(
                f"{contender.label} is named {labels.count(contender.label)} times. Name it once; several learning "
                f"rates go into one: {contender.with_lrs('(0.001,0.01)')}"
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


def plan_runs(
    task: Task, contenders: Sequence[Contender], *, lrs: Sequence[float] = (), n_lrs: int = 4, seeds: int = 3
) -> list[PlannedRun]:
    """All runs, seed by seed, so that an interrupted comparison has run every contender equally often.

    Args:
        task: to train on.
        contenders: to compare.
        lrs: learning rates for every contender without any of its own (`adamw,lr=0.01`); if empty, its declared range
            is covered.
        n_lrs: the number of learning rates over a declared range.
        seeds: the number of runs at each learning rate.

    Raises:
        PlanError: a contender needs several losses and the task has one.
        OptimCoreError: an option does not exist or is out of range.
    """
    first_seed = []
    for contender in contenders:
        needs = build.needs(contender)
        several = "multi_loss" in needs
        if several and task.losses is None:
            raise PlanError(
                f"{contender.label}: {needs['multi_loss']!r} balances several losses, and the task {task.name!r} has "
                "one. Give the Task a function `losses`, or take --task digits."
            )
        contender_lrs = contender.lrs or tuple(lrs) or build.default_lrs(contender, n_lrs)
        _try_options(task, contender, contender_lrs[0])
        revision = build.revision(contender)
        first_seed += [PlannedRun(contender, lr, 0, revision, several) for lr in contender_lrs]
    return [replace(planned, seed=seed) for seed in range(seeds) for planned in first_seed]


def _try_options(task: Task, contender: Contender, lr: float) -> None:
    """Report options that do not exist now; any other error belongs to the run and becomes its row."""
    try:
        with torch.random.fork_rng():
            build.build(contender, task.model(), lr)
    except OptimCoreError:
        raise
    except TypeError as cause:  # how torch's own classes say it
        raise PlanError(f"{contender.label}: {cause}") from cause
    except Exception:  # noqa: BLE001 - the run will raise it again and record it
        return
