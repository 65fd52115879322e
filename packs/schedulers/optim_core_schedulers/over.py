"""Schedules over another schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.optim.optimizer import Optimizer

from optim_core.errors import InvalidOption
from optim_core.methods import Hyper
from optim_core.schedules import Rate, Schedule


@dataclass(frozen=True, kw_only=True)
class _Other(Hyper):
    """An option that is a scheduler."""

    def check(self, value: Any, owner: str) -> Any:
        """The scheduler.

        Raises:
            InvalidOption: it is none, or one whose step needs a metric.
        """
        if value is not None and (isinstance(value, ReduceLROnPlateau) or not isinstance(value, LRScheduler)):
            raise InvalidOption(
                f"{owner}: {self.name} should be a scheduler whose step() takes nothing, such as "
                f"torch.optim.lr_scheduler.CosineAnnealingLR, not {type(value).__name__}"
            )
        return value


def other(doc: str) -> Any:
    """Declare an option that is another scheduler, or None."""
    return _Other(default=None, doc=doc)


class Over(Schedule):
    """A schedule that steps another one, which is saved and loaded along with it."""

    lr_scheduler: LRScheduler | None = other("a schedule made before, for the same optimizer, stepped by this one")

    def check(self) -> None:
        """Refuse the schedule of another optimizer."""
        super().check()
        if self.lr_scheduler is None:
            return
        name = type(self.lr_scheduler).__name__
        theirs = self.lr_scheduler.optimizer
        if theirs != self.optimizer and theirs.param_groups is not self.optimizer.param_groups:
            raise self.reject(f"its lr_scheduler, {name}, belongs to another optimizer: make both for the same one")
        if self.last_epoch != -1:
            raise self.reject(
                f"last_epoch={self.last_epoch} does not tell where {name} stands, over which it is: leave it out, and "
                "resume by scheduler.load_state_dict(...), which takes care of both"
            )

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next step, the other schedule included."""
        if self.lr_scheduler is not None and self._step_count > 0:  # not when this one is being built
            self.advance(self.lr_scheduler, () if epoch is None else (epoch,))
        super().step(epoch)

    def advance(self, lr_scheduler: LRScheduler, arguments: tuple[int, ...]) -> None:
        """Step the other schedule."""
        lr_scheduler.step(*arguments)

    def state_dict(self) -> dict[str, Any]:
        """The state, with that of the other schedule."""
        own = super().state_dict()
        return own | {"lr_scheduler": None if self.lr_scheduler is None else self.lr_scheduler.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state.

        Raises:
            InvalidOption: one of the two has another schedule inside, the other has none.
        """
        own = dict(state_dict)
        inner = own.pop("lr_scheduler")
        if (inner is None) != (self.lr_scheduler is None):
            with_or_without = "without" if inner is None else "with"
            raise self.reject(f"the state was saved {with_or_without} an lr_scheduler: build it the same way")
        if self.lr_scheduler is not None:
            self.lr_scheduler.load_state_dict(inner)
        super().load_state_dict(own)


class Warmup(Over):
    """A factor on the rates of another schedule, or on the groups' own; subclasses give :meth:`factor`.

    Step this scheduler only: it puts the undamped rates back, steps the other schedule, and damps what that gives.
    So schedules that go on from the present rate, as many of torch's do, are not led astray. Beside it in a
    ``ChainedScheduler`` they would be; several others go in as one ``ChainedScheduler``.
    """

    def check(self) -> None:
        """Keep the rates that the other schedule has set."""
        super().check()
        self.undamped_lrs: list[Rate] | None = None if self.lr_scheduler is None else present(self.optimizer)
        for k in range(len(self.optimizer.param_groups)):
            self.factor(1, k)  # raises where a group does not have what it takes

    def advance(self, lr_scheduler: LRScheduler, arguments: tuple[int, ...]) -> None:
        """Step the other schedule from where it was, and keep where it gets to."""
        if self.undamped_lrs is not None:
            for group, lr in zip(self.optimizer.param_groups, self.undamped_lrs, strict=True):
                _set(group, lr)
        super().advance(lr_scheduler, arguments)
        self.undamped_lrs = present(self.optimizer)

    def rate(self, t: int, lr: Rate, k: int) -> Rate:
        """The other schedule's rate, or the group's, times the factor."""
        return (lr if self.undamped_lrs is None else self.undamped_lrs[k]) * self.factor(t + 1, k)

    def factor(self, n: int, k: int) -> float:
        """The factor of group k's lr at step n = 1, 2, ..."""
        raise NotImplementedError


def present(optimizer: Optimizer) -> list[Rate]:
    """The lr of each group, apart from what the group goes on to hold."""
    lrs = [group["lr"] for group in optimizer.param_groups]
    return [lr.clone() if isinstance(lr, Tensor) else lr for lr in lrs]


def _set(group: dict[str, Any], lr: Rate) -> None:
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(lr)
    else:
        group["lr"] = lr
