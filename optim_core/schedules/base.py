"""Schedule: the base class of schedules with declared options, and a rate for each step and group."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from inspect import Parameter
from typing import Any, ClassVar, TypeAlias

from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.optimizer import Optimizer

from optim_core.catalog.needs import Need
from optim_core.errors import InvalidOption
from optim_core.methods.constructor import declare
from optim_core.methods.declarations import Hyper, argument
from optim_core.methods.method import Method
from optim_core.schedules.option import option_of

Rate: TypeAlias = float | Tensor


@typing.dataclass_transform(field_specifiers=(argument,))
class _Declared(LRScheduler):
    """Tells type checkers that a subclass's constructor follows from its annotated options."""


class Schedule(_Declared):
    """A scheduler whose rates follow from the step alone, so that it can go on from any step.

    Subclasses declare options, check what options mean together in :meth:`check`, and override :meth:`rate`.

    Args:
        optimizer: any torch optimizer or wrapper.
        option: what it sets, as for :func:`option_of`; whatever is said of lr here and in options then goes for that.
        last_epoch: index of the last step done, -1 for none.

    Raises:
        UnknownOption: an option is misspelt, or the optimizer has not the one that is to be set.
        InvalidOption: an option is missing, of the wrong type or out of range.

    Example:
        >>> import torch
        >>> from optim_core import hyper
        >>> from optim_core.schedules import Schedule
        >>> class Halving(Schedule):
        ...     every: int = hyper(10, "steps between two halvings", ge=1)
        ...
        ...     def rate(self, t, lr, k):
        ...         return lr * 0.5 ** (t // self.every)
        >>> scheduler = Halving(torch.optim.SGD([torch.zeros(1)], lr=0.4), every=1)
        >>> scheduler.optimizer.step()
        >>> scheduler.step()
        >>> scheduler.get_last_lr()
        [0.2]
    """

    if typing.TYPE_CHECKING:  # attributes of the class would hide those of instances from what delegates to them
        optimizer: Optimizer = argument()
        option: str = argument(default="lr", kw_only=True)
        last_epoch: int = argument(default=-1, kw_only=True)

    method: ClassVar[Method]
    hypers: ClassVar[Mapping[str, Hyper]]
    #: What the schedule needs, keys of :data:`optim_core.catalog.NEEDS`; its spec says the same.
    needs: ClassVar[frozenset[Need]] = frozenset()
    #: The option that it sets unless told otherwise.
    sets: ClassVar[str] = "lr"

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        first = Parameter("optimizer", Parameter.POSITIONAL_OR_KEYWORD, annotation=Optimizer)
        option = Parameter("option", Parameter.KEYWORD_ONLY, default=cls.sets, annotation=str)
        last_epoch = Parameter("last_epoch", Parameter.KEYWORD_ONLY, default=-1, annotation=int)
        declare(cls, first, others=[option, last_epoch])

    if not typing.TYPE_CHECKING:  # type checkers derive the constructor from the declarations

        def __init__(self, optimizer, *, option=None, last_epoch=-1, **options):
            owner = type(self).__name__
            if not isinstance(optimizer, Optimizer):
                raise InvalidOption(
                    f"{owner} goes with an optimizer, not {type(optimizer).__name__}: build that first, such as "
                    f"{owner}(torch.optim.SGD(model.parameters(), lr=0.1), ...)"
                )
            self.method.check_names(options)
            optimizer = option_of(optimizer, self.sets if option is None else option)
            for name, value in self.method.with_defaults(options).items():
                setattr(self, name, self._settled(self.hypers[name], value, len(optimizer.param_groups)))
            self.optimizer, self.last_epoch = optimizer, last_epoch
            self.check()
            super().__init__(optimizer, last_epoch)

    def _settled(self, declared: Hyper, value: Any, groups: int) -> Any:
        settled = declared.check(value, type(self).__name__)
        if isinstance(settled, tuple) and len(settled) != groups:
            raise InvalidOption(
                f"{type(self).__name__}: {declared.name}={value!r} should be one number, or one for each of the "
                f"optimizer's {groups} parameter groups"
            )
        return settled

    def check(self) -> None:
        """Refuse options that do not go together; called before the first rate is set.

        Raises:
            InvalidOption: naming them and the remedy.
        """

    def reject(self, problem: str) -> InvalidOption:
        """The error for options that do not go together."""
        return InvalidOption(f"{type(self).__name__}: {problem}")

    def get_lr(self) -> list[Rate]:
        """The lr of each group at the present step.

        Raises:
            InvalidOption: a parameter group was added since.
        """
        if len(self.base_lrs) != len(self.optimizer.param_groups):
            raise self.reject(
                f"made for {len(self.base_lrs)} parameter groups, but the optimizer has "
                f"{len(self.optimizer.param_groups)} now: make a new scheduler after add_param_group, with last_epoch="
                f"{self.last_epoch - 1} to go on from here (and an initial_lr in the new group)"
            )
        return [self.rate(self.last_epoch, lr, k) for k, lr in enumerate(self.base_lrs)]

    def rate(self, t: int, lr: Rate, k: int) -> Rate:
        """The lr at one step.

        Args:
            t: steps done: 0 at the first.
            lr: the group's own.
            k: index of the group.
        """
        raise NotImplementedError

    def second_beta(self, k: int, remedy: str) -> float:
        """The decay of the second moment in group k.

        Raises:
            InvalidOption: the group has no betas, or the second one decays nothing (PNM's betas).
        """
        betas = self.optimizer.param_groups[k].get("betas")
        if not isinstance(betas, (list, tuple)) or len(betas) < 2:
            raise self.reject(
                "its length follows from beta2, the second of a parameter group's betas as Adam and its relatives "
                f"have them, but group {k} has betas={betas!r}: {remedy}"
            )
        beta2 = float(betas[1])
        if not 0 <= beta2 < 1:
            raise self.reject(
                f"its length follows from beta2 in the range from 0 to below 1, but parameter group {k} has "
                f"beta2={beta2:g}, of a method that does not use it as Adam does: {remedy}"
            )
        return beta2


def of_group(value: Any, k: int) -> Any:
    """The value of an option for group k: its own number, if each has one, or the common one."""
    return value[k] if isinstance(value, tuple) else value
