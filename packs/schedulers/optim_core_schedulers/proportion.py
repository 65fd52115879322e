"""A value that follows the learning rate."""

from __future__ import annotations

from typing import Any

from optim_core.methods import hyper
from optim_core.schedules import Rate
from optim_core_schedulers.over import Over, present


class ProportionScheduler(Over):
    """Lets another option of the optimizer, such as the radius of SAM and GSAM, rise and fall with the learning rate.

    ::

        value = min_value + (max_value - min_value) (lr - min_lr)/(max_lr - min_lr)      lr: that of the first group
        value = max_value                                                               if max_lr = min_lr

    The value becomes the entry ``key`` of every parameter group; learning rates stay as they are. Step this scheduler
    only: it steps ``lr_scheduler`` first (the authors' class leaves that to you). Without one it follows whatever
    else sets the rates, and is stepped after that. A rate outside of its range gives a value outside of its own.

    Example:
        >>> import torch
        >>> group = {"params": [torch.nn.Parameter(torch.ones(1))], "rho": 0.5}
        >>> sgd = torch.optim.SGD([group], lr=1.0)
        >>> halving = torch.optim.lr_scheduler.ExponentialLR(sgd, gamma=0.5)
        >>> scheduler = ProportionScheduler(sgd, max_value=0.5, min_value=0.1, lr_scheduler=halving)
        >>> for _ in range(4):
        ...     print(round(sgd.param_groups[0]["rho"], 3), end=" ")
        ...     sgd.step()
        ...     scheduler.step()
        0.5 0.3 0.2 0.15

    Source: Zhuang et al., Surrogate Gap Minimization Improves Sharpness-Aware Training, 2022,
    https://arxiv.org/abs/2203.08065, and the authors' code.
    """

    max_lr: float | None = hyper(None, "lr at which the value is max_value; None: the first group's own", ge=0)
    min_lr: float = hyper(0.0, "lr at which the value is min_value", ge=0)
    max_value: float = hyper(2.0, "value at max_lr", ge=0)
    min_value: float = hyper(2.0, "value at min_lr", ge=0)
    key: str = hyper("rho", "entry of the parameter groups that is set")

    def check(self) -> None:
        """Refuse an empty range, and an option that nothing reads."""
        super().check()
        first = self.optimizer.param_groups[0]
        if self.max_lr is None:
            self.max_lr = float(first.get("initial_lr", first["lr"]))
        if self.max_lr < self.min_lr or (self.max_lr == self.min_lr and self.max_value != self.min_value):
            raise self.reject(
                f"max_lr={self.max_lr:g} must be above min_lr={self.min_lr:g} for the value to follow: give the "
                "highest and the lowest lr of the schedule (for a constant value give max_value and min_value alike)"
            )
        readers = _readers(self.optimizer, self.key)
        if not readers and not all(self.key in group for group in self.optimizer.param_groups):
            raise self.reject(
                f"{type(self.optimizer).__name__} has no {self.key!r} to set: wrap the optimizer first, as in "
                "ProportionScheduler(SAM(optimizer), ...), or name another option with key=..."
            )
        if len(readers) > 1:
            names = " and ".join(type(reader).__name__ for reader in readers)
            raise self.reject(
                f"{names} each have a {self.key!r}, but a parameter group has one entry for both: name "
                "another option with key=..."
            )
        if readers and getattr(readers[0], "options", {}).get(self.key, 0.0) is None:
            name = type(readers[0]).__name__
            raise self.reject(
                f"{name} finds its {self.key!r} by a schedule of its own: leave this one out, or build it as "
                f"{name}(..., {self.key}=...) without that"
            )

    def get_lr(self) -> list[Rate]:
        """The rates as they are; sets the value beside them."""
        lrs = present(self.optimizer)
        for group in self.optimizer.param_groups:
            group[self.key] = self.value(float(lrs[0]))
        return lrs

    def value(self, lr: float) -> float:
        """The value that goes with a learning rate."""
        high = self.min_lr if self.max_lr is None else self.max_lr
        if high == self.min_lr:
            return self.max_value
        return self.min_value + (self.max_value - self.min_value) * (lr - self.min_lr) / (high - self.min_lr)


def _readers(optimizer: Any, option: str) -> list[Any]:
    """The optimizer and the wrappers around it, as far as they have an option."""
    inside = _readers(optimizer.base, option) if hasattr(optimizer, "base") else []
    known = optimizer.hypers if hasattr(optimizer, "base") else optimizer.defaults
    return [*inside, *([optimizer] if option in known else [])]
