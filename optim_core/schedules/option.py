"""A view of an optimizer in which one of its options stands where schedulers look for the lr."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from functools import wraps
from inspect import signature
from numbers import Real
from typing import Any
from weakref import ref

from torch import Tensor
from torch.optim.optimizer import Optimizer

from optim_core.errors import InvalidOption, UnknownOption
from optim_core.methods.declarations import Hyper, holds_real_numbers
from optim_core.methods.method import KEPT_OF_OPTIONS
from optim_core.names import did_you_mean
from optim_core.optimizers.optimizer import RuleOptimizer
from optim_core.wrapping.wrapper import Wrapper

#: Under which names a group keeps what schedulers keep of the lr, for another option.
_KEPT = dict(zip(("initial_lr", "max_lr", "min_lr"), KEPT_OF_OPTIONS, strict=True))


@dataclass(frozen=True)
class Place:
    """Where an option stands in a group: an entry, or one number of an entry that has several.

    Attributes:
        name: as users call it.
        entry: the key of the group.
        at: which number of the entry; None: the entry is a number.
        checked: its declaration, if there is one.
        default: what is in force where a group has no such entry.
    """

    name: str
    entry: str
    at: int | None = None
    checked: Hyper | None = None
    default: float | None = None

    def get(self, group: Mapping[str, Any]) -> Any:
        """The number in a group."""
        value = group.get(self.entry, self.default)
        return value if self.at is None else value[self.at]

    def set(self, group: MutableMapping[str, Any], number: Any) -> None:
        """Set the number in a group.

        Raises:
            InvalidOption: the option does not go so far.
        """
        value = number
        if self.at is not None:
            value = (*group[self.entry][: self.at], number, *group[self.entry][self.at + 1 :])
        if self.checked is not None and self.entry != "lr":
            value = self.checked.check(value, f"a schedule of {self.name}")
        group[self.entry] = value


class _Group(MutableMapping[str, Any]):
    """A parameter group whose lr is another option; all else is the group's own."""

    def __init__(self, group: dict[str, Any], place: Place) -> None:
        self._group, self._place = group, place

    def _key(self, key: str) -> str:
        return _KEPT[key] + self._place.name if key in _KEPT else key

    def __getitem__(self, key: str) -> Any:
        if key == "lr":
            return self._place.get(self._group)
        return self._group[self._key(key)]

    def __setitem__(self, key: str, value: Any) -> None:
        if key == "lr":
            self._place.set(self._group, value)
        else:
            self._group[self._key(key)] = value

    def __delitem__(self, key: str) -> None:
        del self._group[self._key(key)]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._group, "lr": None})

    def __len__(self) -> int:
        return len({**self._group, "lr": None})

    def __contains__(self, key: object) -> bool:
        return key == "lr" or (isinstance(key, str) and self._key(key) in self._group)


class OptionView(Optimizer):
    """An optimizer seen by a scheduler that sets another option than lr; made by :func:`option_of`.

    Everything but ``param_groups`` is the optimizer's own.
    """

    def __init__(self, optimizer: Optimizer, place: Place) -> None:
        vars(self).update(_viewed=optimizer, _place=place)

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__") or name in ("_viewed", "_place"):
            return object.__getattribute__(self, name)
        if name == "param_groups":
            return [_Group(group, self._place) for group in self._viewed.param_groups]
        return getattr(self._viewed, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._viewed, name, value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OptionView) and (self._viewed is other._viewed and self._place == other._place)

    def __hash__(self) -> int:
        return hash((id(self._viewed), self._place))

    def __repr__(self) -> str:
        return f"{self._place.name} of {self._viewed!r}"

    def __reduce__(self) -> tuple[Any, ...]:
        return OptionView, (self._viewed, self._place)

    __reduce_ex__ = lambda self, protocol: self.__reduce__()  # noqa: E731 - torch's own saves groups and state


def option_of(optimizer: Optimizer, option: str) -> Optimizer:
    """An optimizer as a scheduler sees it that shall set another option than lr.

    Any scheduler goes around it, torch's and others': what it takes for the lr is the option, and each group's own
    value its initial lr, kept as the group's ``initial_OPTION``. Several may act on one optimizer. Schedulers that have
    an argument ``option`` do this themselves.

    Args:
        optimizer: any optimizer or wrapper, or such a view of it.
        option: an option with real values, such as ``weight_decay`` or ``eps``; ``beta1`` and ``beta2`` for a number of
            ``betas`` (``momentum`` is the first, where there is no other); ``NAME[i]`` for that of any other; ``rho``
            of SAM and its relatives.

    Raises:
        UnknownOption: the optimizer has no such option.
        InvalidOption: its values are no real numbers, or differ in meaning inside one group.

    Example:
        >>> import torch
        >>> from torch.optim.lr_scheduler import StepLR
        >>> adam = torch.optim.AdamW([torch.zeros(1)], lr=1.0, weight_decay=0.1)
        >>> scheduler = StepLR(option_of(adam, "weight_decay"), 1, gamma=0.5)
        >>> adam.step()
        >>> scheduler.step()
        >>> adam.param_groups[0]["weight_decay"], adam.param_groups[0]["lr"]
        (0.05, 1.0)
    """
    if isinstance(optimizer, OptionView):
        optimizer = optimizer._viewed
    if option == "lr":
        return optimizer
    place = place_of(optimizer, option)
    _note_steps(optimizer)
    return OptionView(optimizer, place)


def place_of(optimizer: Any, option: str) -> Place:
    """Where the groups of an optimizer have an option.

    Raises:
        UnknownOption, InvalidOption: as :func:`option_of`.
    """
    inner = optimizer.innermost if isinstance(optimizer, Wrapper) else optimizer
    owner, places = type(inner).__name__, _places(optimizer, inner)
    wanted = re.sub(r"^betas\[(\d+)\]$", lambda found: f"beta{int(found[1]) + 1}", option)
    if wanted == "momentum" and "momentum" not in places and "beta1" in places:
        wanted = "beta1"
    if wanted in places:
        return places[wanted]
    if any(wanted in group for group in inner.param_groups) or wanted in getattr(inner, "hypers", ()):
        raise InvalidOption(
            f"{owner}: {option!r} cannot be scheduled: it is not a real number in every parameter group. What can: "
            f"{', '.join(places)}"
        )
    raise UnknownOption(
        f"{owner} has no option {option!r} that a schedule could set.{did_you_mean(wanted, places)} It has: "
        f"{', '.join(places)}"
    )


def _places(optimizer: Any, inner: Any) -> dict[str, Place]:
    """All that can be scheduled, by name."""
    first = inner.param_groups[0]
    found: dict[str, Place] = {}
    for entry in first:
        if all(_is_scheduled(inner, group, entry) for group in inner.param_groups):
            checked = inner.hypers.get(entry) if isinstance(inner, RuleOptimizer) else None
            found |= {place.name: place for place in _numbers(entry, first[entry], checked)}
    wrappers = (optimizer, *optimizer.inside) if isinstance(optimizer, Wrapper) else ()
    for wrapper in wrappers:
        if isinstance(wrapper, Wrapper):
            for name in wrapper.group_options:
                _add(found, wrapper, name)
    return found


def _numbers(entry: str, value: Any, checked: Hyper | None) -> list[Place]:
    if not isinstance(value, (tuple, list)):
        return [Place(entry, entry, None, checked)]
    names = [f"beta{i + 1}" if entry == "betas" else f"{entry}[{i}]" for i in range(len(value))]
    return [Place(name, entry, i, checked) for i, name in enumerate(names)]


def _add(found: dict[str, Place], wrapper: Wrapper, name: str) -> None:
    """Add a wrapper's option of which each group may have its own."""
    if name in found and (found[name].default is not None or name in wrapper.innermost.defaults):
        raise InvalidOption(
            f"{wrapper.method.name} and what is inside it each have a {name!r}, but a parameter group has one entry "
            "for both: leave one of them out"
        )
    value = wrapper.options[name]
    if value is not None:
        found[name] = Place(name, name, None, wrapper.hypers[name], value)


def _is_scheduled(inner: Any, group: Mapping[str, Any], entry: str) -> bool:
    """Whether an entry holds real numbers that its method reads at each step."""
    if entry not in group or entry in ("params", "param_names", "layers") or entry.startswith(KEPT_OF_OPTIONS):
        return False
    value = group[entry]
    several = isinstance(value, (tuple, list)) and len(value) > 0
    if not all(isinstance(x, (Real, Tensor)) and not isinstance(x, bool) for x in (value if several else [value])):
        return False
    if isinstance(inner, RuleOptimizer):
        method = inner.method
        only_at_first = entry not in method.keywords and any(entry == state.start for state in method.states.values())
        return entry in method.hypers and holds_real_numbers(method.hypers[entry]) and not only_at_first
    parameter = signature(type(inner)).parameters.get(entry)
    return parameter is None or parameter.annotation not in (int, "int", bool, "bool")


def _note_steps(optimizer: Any) -> None:
    """Have the optimizer note that it has stepped, which torch's schedulers ask for before their own first step.

    They do that themselves, but for the object that they are given, and the view is not the one that steps.
    """
    if hasattr(optimizer.step, "_wrapped_by_lr_sched"):
        return
    step, owner = optimizer.step.__func__, ref(optimizer)

    @wraps(step)
    def noted(*args: Any, **kwargs: Any) -> Any:
        optimizer: Any = owner()
        optimizer._opt_called = True
        return step.__get__(optimizer, type(optimizer))(*args, **kwargs)

    noted._wrapped_by_lr_sched = True  # type: ignore[attr-defined]
    optimizer.step = noted
