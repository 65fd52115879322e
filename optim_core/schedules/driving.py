"""Schedulers of other libraries with an argument ``option``, as this one's have."""

from __future__ import annotations

import functools
import inspect
from typing import Any, cast

from torch.optim.lr_scheduler import LRScheduler

from optim_core.schedules.base import Schedule
from optim_core.schedules.option import option_of


def driving(cls: type[LRScheduler]) -> type[LRScheduler]:
    """The class of a scheduler, which takes ``option`` beside its own arguments.

    One that has such an argument already is returned as it is; of any other, a subclass by the same name.

    Example:
        >>> import torch
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0, momentum=0.5)
        >>> scheduler = driving(torch.optim.lr_scheduler.ConstantLR)(sgd, factor=0.5, option="momentum")
        >>> sgd.param_groups[0]["momentum"], sgd.param_groups[0]["lr"]
        (0.25, 1.0)
    """
    if issubclass(cls, Schedule) or "option" in inspect.signature(cls).parameters:
        return cls
    made: type[LRScheduler] = _subclass(cast("Any", cls))
    return made


@functools.cache
def _subclass(cls: Any) -> type[LRScheduler]:
    own = inspect.signature(cls)
    option = inspect.Parameter("option", inspect.Parameter.KEYWORD_ONLY, default="lr", annotation=str)

    def __init__(self: Any, optimizer: Any, *args: Any, option: str = "lr", **kwargs: Any) -> None:  # noqa: N807
        if option != "lr" and "cycle_momentum" in own.parameters:
            kwargs.setdefault("cycle_momentum", False)  # momentum goes against the lr, and this is none
        cls.__init__(self, option_of(optimizer, option), *args, **kwargs)

    body = {
        "__doc__": cls.__doc__,
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__init__": __init__,
        "__reduce_ex__": lambda self, protocol: (_bare, (cls,), self.__getstate__()),
        "__signature__": own.replace(parameters=_with(option, own)),
    }
    return cast("type[LRScheduler]", type(cls.__name__, (cls,), body))


def _with(option: inspect.Parameter, own: inspect.Signature) -> list[inspect.Parameter]:
    return sorted([*own.parameters.values(), option], key=lambda parameter: parameter.kind)


def _bare(cls: Any) -> LRScheduler:
    """An empty scheduler, for pickle, which would not find the subclass by its name."""
    made = _subclass(cls)
    return made.__new__(made)
