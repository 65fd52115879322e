"""Which saved parameter is which of an optimizer's own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from optim_core.errors import CheckpointMismatch

#: Saved names of parameters to those that they have now.
Rename: TypeAlias = Mapping[str, str] | Callable[[str], str]


class Slot(NamedTuple):
    """A parameter's place in groups.

    Attributes:
        group: the position of its group.
        place: its position there.
        key: what stands for it there: a number, a name, or the parameter itself.
        name: its name, if it has one.
    """

    group: int
    place: int
    key: Any
    name: str | None


def slots(groups: Sequence[Mapping[str, Any]], rename: Rename | None = None) -> list[Slot]:
    """The places of all parameters, in order."""
    found = []
    for k, group in enumerate(groups):
        keys = list(group["params"])
        # torch.distributed.checkpoint puts names in the place of parameters, in an order of its own
        by_name = bool(keys) and all(isinstance(key, str) for key in keys)
        names = keys if by_name else list(group.get("param_names", [None] * len(keys)))
        found += [
            Slot(k, i, key, _renamed(name, rename)) for i, (key, name) in enumerate(zip(keys, names, strict=True))
        ]
    return found


def _renamed(name: str | None, rename: Rename | None) -> str | None:
    if name is None or rename is None:
        return name
    return rename(name) if callable(rename) else rename.get(name, name)


def match(own: Sequence[Slot], saved: Sequence[Slot], owner: str) -> list[int | None]:
    """For each own parameter the position of its saved one; None where none has its name.

    They are matched by name if all have names on both sides, so that reordered layers keep their own state; names that
    several have are looked for in the group of the same position. Otherwise they are matched by order, as torch does.

    Raises:
        CheckpointMismatch: the groups do not correspond.
    """
    own_names: list[Any] = [slot.name for slot in own]
    saved_names: list[Any] = [slot.name for slot in saved]
    if None not in own_names and None not in saved_names:
        bare = [[_bare(str(name)) for name in names] for names in (own_names, saved_names)]
        if set(own_names) != set(saved_names) and all(len(set(names)) == len(names) for names in bare):
            own_names, saved_names = map(list, bare)
        if own_names == saved_names:
            return list(range(len(own)))
        found = _by_name(own, own_names, saved, saved_names, owner)
        if any(k is not None for k in found) or not _by_key(saved):
            return found
    sizes = [[count for _, count in sorted(Counter(slot.group for slot in side).items())] for side in (own, saved)]
    if sizes[0] != sizes[1]:
        raise CheckpointMismatch(
            f"{owner} has {_sizes(sizes[0])}, the checkpoint {_sizes(sizes[1])}: build the optimizer over the same "
            "model and groups as the one that was saved"
        )
    return list(range(len(own)))


def _by_key(saved: Sequence[Slot]) -> bool:
    """True if names stand in the place of parameters: whoever did that has put them into the optimizer's own order."""
    return all(isinstance(slot.key, str) for slot in saved)


def _by_name(
    own: Sequence[Slot], own_names: Sequence[Any], saved: Sequence[Slot], saved_names: Sequence[Any], owner: str
) -> list[int | None]:
    twice = [name for names in (own_names, saved_names) for name, n in Counter(names).items() if n > 1]
    if not twice:
        position = {name: k for k, name in enumerate(saved_names)}
        return [position.get(name) for name in own_names]
    in_group = {(slot.group, name): k for k, (slot, name) in enumerate(zip(saved, saved_names, strict=True))}
    wanted = [(slot.group, name) for slot, name in zip(own, own_names, strict=True)]
    if len(in_group) < len(saved) or set(in_group) != set(wanted):
        raise CheckpointMismatch(
            f"{owner}: {some(twice)} names several parameters, and the groups of the checkpoint are others, so that "
            "they cannot be told apart: build the same groups, or give each parameter a name of its own"
        )
    return [in_group[each] for each in wanted]


def _bare(name: str) -> str:
    """A name without what torch.compile and DDP put before those of a module."""
    return re.sub(r"^(?:module\.)+", "", name.replace("_orig_mod.", ""))


def _sizes(sizes: Sequence[int]) -> str:
    return f"{len(sizes)} groups of {', '.join(map(str, sizes))} parameters"


def some(names: Sequence[str]) -> str:
    """Names for a message: three of them at most."""
    if not names:
        return "nothing"
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def same_groups(own: Sequence[Slot], saved: Sequence[Slot], found: Sequence[int | None]) -> bool:
    """Return True if the parameters of each own group are those of one saved group, and of no other."""
    pairs = {(slot.group, saved[k].group) for slot, k in zip(own, found, strict=True) if k is not None}
    return all(n == 1 for side in (0, 1) for n in Counter(pair[side] for pair in pairs).values())
