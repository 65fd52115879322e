"""Untuned linear warm-up."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.optim.optimizer import Optimizer

from optim_core.errors import InvalidOption
from optim_core_schedulers.second_beta import second_beta


class UntunedLinearWarmup(LRScheduler):
    """Linear warm-up as long as Adam's second moment needs, alone or over another schedule.

    ::

        lr at step n = (lr of the other schedule at step n, or the base lr) times min(1, n / int(2 / (1 - beta2)))

    The length follows from each group's betas. (int cuts a quotient in floating point: 1999 steps for 0.999, as in
    pytorch_warmup, where the paper's formula means 2000.) Step this scheduler only: it puts the undamped rate back,
    steps the other one and damps what that gives, so schedules that go on from the present rate are not led astray.
    Beside it in a ``ChainedScheduler`` they would be; several others go in as one ``ChainedScheduler``.

    Args:
        optimizer: an optimizer whose groups have betas.
        lr_scheduler: the schedule to damp, made before this one, for the same optimizer.
        last_epoch: index of the last step done, -1 for none.

    Raises:
        InvalidOption: a group has no betas, or the other schedule does not fit.

    Example:
        >>> import torch
        >>> adam = torch.optim.Adam([torch.nn.Parameter(torch.ones(1))], lr=1.0, betas=(0.9, 0.5))
        >>> scheduler = UntunedLinearWarmup(adam, torch.optim.lr_scheduler.ExponentialLR(adam, gamma=0.5))
        >>> for _ in range(5):
        ...     print(adam.param_groups[0]["lr"], end=" ")
        ...     adam.step()
        ...     scheduler.step()
        0.25 0.25 0.1875 0.125 0.0625

    Source: Ma and Yarats, On the adequacy of untuned warmup for adaptive optimization, 2019,
    https://arxiv.org/abs/1910.04209.
    """

    def __init__(self, optimizer: Optimizer, lr_scheduler: Any = None, last_epoch: int = -1) -> None:
        self.lr_scheduler = lr_scheduler
        self.undamped_lrs: list[float | Tensor] | None = None
        if lr_scheduler is not None:
            self._check(optimizer, lr_scheduler)
            self.undamped_lrs = _present(optimizer)
        super().__init__(optimizer, last_epoch)

    def _check(self, optimizer: Optimizer, lr_scheduler: Any) -> None:
        owner, other = type(self).__name__, type(lr_scheduler).__name__
        if isinstance(lr_scheduler, ReduceLROnPlateau) or not isinstance(lr_scheduler, LRScheduler):
            raise InvalidOption(
                f"{owner}: lr_scheduler should be a scheduler whose step() takes nothing, such as "
                f"torch.optim.lr_scheduler.CosineAnnealingLR, not {other}"
            )
        if lr_scheduler.optimizer.param_groups is not optimizer.param_groups:
            raise InvalidOption(
                f"{owner}: its lr_scheduler, {other}, belongs to another optimizer: make both for the same one"
            )

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next step, the other schedule included."""
        if self.lr_scheduler is not None and self.undamped_lrs is not None and self._step_count > 0:
            for group, lr in zip(self.optimizer.param_groups, self.undamped_lrs, strict=True):
                _set(group, lr)
            self.lr_scheduler.step()
            self.undamped_lrs = _present(self.optimizer)
        super().step(epoch)

    def get_lr(self) -> list[float | Tensor]:
        """The lr of each group at the present step."""
        undamped = self.base_lrs if self.undamped_lrs is None else self.undamped_lrs
        groups = zip(self.optimizer.param_groups, undamped, strict=True)
        return [lr * min(1.0, (self.last_epoch + 1) / self._length(group)) for group, lr in groups]

    def _length(self, group: dict[str, Any]) -> int:
        remedy = "take torch.optim.lr_scheduler.LinearLR, and choose the length"
        return int(2.0 / (1.0 - second_beta(group, type(self).__name__, remedy)))

    def state_dict(self) -> dict[str, Any]:
        """The state, with that of the other schedule."""
        saved = super().state_dict()
        inner = saved.pop("lr_scheduler")
        return saved | {"lr_scheduler": None if inner is None else inner.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state.

        Raises:
            InvalidOption: one of the two has another schedule inside, the other has none.
        """
        own = dict(state_dict)
        inner = own.pop("lr_scheduler")
        if (inner is None) != (self.lr_scheduler is None):
            with_or_without = "without" if inner is None else "with"
            raise InvalidOption(
                f"{type(self).__name__}: the state was saved {with_or_without} an lr_scheduler: build it the same way"
            )
        if self.lr_scheduler is not None:
            self.lr_scheduler.load_state_dict(inner)
        super().load_state_dict(own)


def _present(optimizer: Optimizer) -> list[float | Tensor]:
    lrs = [group["lr"] for group in optimizer.param_groups]
    return [lr.clone() if isinstance(lr, Tensor) else lr for lr in lrs]


def _set(group: dict[str, Any], lr: float | Tensor) -> None:
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(lr)
    else:
        group["lr"] = lr
