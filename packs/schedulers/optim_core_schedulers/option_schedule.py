"""Any option along values, or by a function of the step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from optim_core.errors import InvalidOption
from optim_core.methods import Hyper
from optim_core.schedules import Rate, Schedule
from optim_core_schedulers.schedule import listed


@dataclass(frozen=True, kw_only=True)
class _Function(Hyper):
    """An option that is a function of the step."""

    def check(self, value: Any, owner: str) -> Any:
        """The function.

        Raises:
            InvalidOption: it cannot be called.
        """
        if value is not None and not callable(value):
            raise InvalidOption(f"{owner}: {self.name}={value!r} should be a function of the step, counted from 0")
        return value


def _function(doc: str) -> Any:
    return _Function(default=None, doc=doc)


class OptionSchedule(Schedule):
    """Sets any option of the groups: to one value after the other, or to what a function of the step says.

    ::

        value at step n = values[n - 1], the last one being held;  or function(n - 1)

    All values are absolute; every group has them, or those that ``groups`` lists. Every other schedule sets any
    option relative to the group's own value, with ``option=...``, too. A value is read by the step that follows: a
    bias correction takes 1 - beta^n with the beta of the step, as torch's and optax's do, whatever the earlier ones
    were. What is read once, when the optimizer is made, is refused.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], eps=1e-8)
        >>> scheduler = OptionSchedule(optimizer, option="eps", function=lambda t: 1e-4 / (1 + t))
        >>> for _ in range(3):
        ...     print(round(optimizer.param_groups[0]["eps"], 6), end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        0.0001 5e-05 3.3e-05

    Source: optax's ``inject_hyperparams``, https://github.com/google-deepmind/optax.
    """

    values: tuple[float, ...] | None = listed(None, "the values, one for each step")
    function: Callable[[int], float] | None = _function("gives the value from the steps done, 0 at the first")
    groups: tuple[int, ...] | None = listed(None, "indices of the groups that follow; None: all", ge=0)

    def check(self) -> None:
        """Refuse none or two sources of values, and groups that there are not."""
        super().check()
        if (self.values is None) == (self.function is None):
            raise self.reject("give values=[...] or function=..., one of the two")
        there = len(self.optimizer.param_groups)
        if self.groups is not None and max(self.groups) >= there:
            raise self.reject(f"groups={self.groups}: the optimizer has {there}, counted from 0")

    def rate(self, t: int, lr: Rate, k: int) -> Rate:
        """The value of the step, or the group's own."""
        if self.groups is not None and k not in self.groups:
            return lr
        if self.function is not None:
            return self.function(t)
        return (self.values or [lr])[min(t, len(self.values or [lr]) - 1)]

    def state_dict(self) -> dict[str, Any]:
        """The state, but for a function, which is made anew."""
        return {name: value for name, value in super().state_dict().items() if name != "function"}
