"""A saved state on its way into an optimizer: matched with it, and checked as a whole before anything changes."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from torch import Tensor
from torch.optim.optimizer import Optimizer

from optim_core.errors import CheckpointMismatch
from optim_core.methods.method import KEPT_OF_OPTIONS, SET_UP
from optim_core.names import OWN_SHAPE
from optim_core.optimizers import matching
from optim_core.optimizers.matching import Rename, Slot, some

#: What a layer of an optimizer is called in its groups: the class's name and version, as ``("AdamW", 1)``.
Layer: TypeAlias = tuple[str, int]
#: Whose options are in force after loading.
Options: TypeAlias = Literal["saved", "own"]
#: Where an optimizer stands in its stream of random draws: entries of its groups.
DRAWS = ("draw_seed", "draws")
#: Options of torch's optimizers that change no number.
_IMPLEMENTATION = frozenset({"foreach", "fused", "capturable", "differentiable"})


class LoadResult(NamedTuple):
    """What loading has left as it was, by names such as ``0.weight.exp_avg``.

    Attributes:
        missing_keys: what the checkpoint lacks.
        unexpected_keys: what the checkpoint has besides; it was left out.
    """

    missing_keys: list[str]
    unexpected_keys: list[str]


class Member(NamedTuple):
    """A parameter with what was saved for it.

    Attributes:
        p: the parameter.
        name: its name, or its position (group.index) where names are unknown.
        saved: its saved state; empty if it has none.
        options: the entries of its saved group.
        group: the entries of its group after loading.
    """

    p: Tensor
    name: str
    saved: dict[str, Any]
    options: Mapping[str, Any]
    group: Mapping[str, Any]


class Loading:
    """A state dict, matched with an optimizer that is to take it over; neither is changed.

    Args:
        optimizer: the optimizer.
        state_dict: the state.
        strict, rename, options: see :meth:`optim_core.optimizers.stateful.StatefulOptimizer.load_state_dict`.
        kin: the methods whose states mean the same, by name; None for all.

    Attributes:
        owner: the optimizer's class, for messages.
        strict: whether what does not correspond is an error.
        groups: the entries of the groups as they shall be, but for their parameters.
        members: the parameters of which something was saved.
        foreign: True if the state is neither this library's nor torch's.
        result: what is left as it was.

    Raises:
        CheckpointMismatch: layers, groups or parameters do not correspond.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        state_dict: Mapping[str, Any],
        *,
        strict: bool = True,
        rename: Rename | None = None,
        options: Options | None = None,
        kin: Collection[str] | None = None,
    ) -> None:
        self.owner, self.strict, self.result = type(optimizer).__name__, strict, LoadResult([], [])
        groups, saved_groups = optimizer.param_groups, state_dict["param_groups"]
        self.own_options = frozenset(optimizer.defaults)
        layers = layers_of(saved_groups)
        self.foreign = not layers and any("step" in g or "foreach" not in g for g in saved_groups)
        check_layers(layers, layers_of(groups), self.owner, strict=strict)
        known = self._is_kin(layers, kin)
        own, saved = matching.slots(groups), matching.slots(saved_groups, rename)
        found = matching.match(own, saved, self.owner)
        self._note(own, saved, found)
        same = known and matching.same_groups(own, saved, found)
        self.options: Options = options or ("saved" if same else "own")
        sources = [saved_groups[k] for k in range(len(groups))] if same and len(groups) == len(saved_groups) else []
        self.groups = []
        for k, group in enumerate(groups):
            members = zip(own, found, strict=True)
            mine = dict.fromkeys(saved[i].group for slot, i in members if slot.group == k and i is not None)
            theirs = [saved_groups[j] for j in mine] or sources[k : k + 1]
            self.groups.append(self._group(group, theirs if known else []))
        self.members = [
            Member(
                groups[slot.group]["params"][slot.place],
                slot.name or f"{slot.group}.{slot.place}",
                _entry(state_dict["state"].get(saved[k].key, {}), saved_groups[saved[k].group]) if known else {},
                saved_groups[saved[k].group],
                self.groups[slot.group],
            )
            for slot, k in zip(own, found, strict=True)
            if k is not None
        ]

    def _is_kin(self, layers: Sequence[Layer], kin: Collection[str] | None) -> bool:
        if not layers or kin is None or layers[0][0] in kin:
            return True
        if self.strict:
            raise CheckpointMismatch(
                f"the checkpoint was saved by another method, {layers[0][0]}, whose states mean something else to "
                f"{self.owner}: build {layers[0][0]}, or let {self.owner} begin anew, without loading"
            )
        self.result.unexpected_keys.append(layers[0][0])
        return False

    def _note(self, own: Sequence[Slot], saved: Sequence[Slot], found: Sequence[int | None]) -> None:
        taken = set(found)
        missing = [str(slot.name) for slot, k in zip(own, found, strict=True) if k is None]
        besides = [str(slot.name) for k, slot in enumerate(saved) if k not in taken]
        if (missing or besides) and self.strict:
            raise CheckpointMismatch(
                f"{self.owner}: the checkpoint belongs to another model. It lacks {some(missing)} "
                f"and has {some(besides)} besides: rename=... tells what names have become, strict=False takes what "
                "both have"
            )
        self.result.missing_keys.extend(missing)
        self.result.unexpected_keys.extend(besides)

    def _group(self, own: Mapping[str, Any], saved: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The entries of a group after loading: the options in force, and what was counted."""
        mine = {name: x for name, x in own.items() if name != "params"}
        if not saved:
            return mine
        theirs = {name: x for name, x in saved[0].items() if name not in ("params", "param_names", "layers", "why")}
        if self.options == "own":
            left_out = self.own_options | SET_UP | _IMPLEMENTATION
            counted = {n: x for n, x in theirs.items() if n not in left_out and not n.startswith(KEPT_OF_OPTIONS)}
            return mine | ({} if self.foreign else copy.deepcopy(counted))
        differing = [n for n in sorted(self.own_options & set(theirs)) if any(g.get(n) != theirs[n] for g in saved[1:])]
        if differing:
            raise CheckpointMismatch(
                f"{self.owner}: {some(differing)} differs among saved groups that are one group here: options='own' "
                "keeps this optimizer's"
            )
        return mine | copy.deepcopy(theirs)

    def unknown_options(self) -> list[str]:
        """The options of another library's that are in force and unknown here."""
        if not self.foreign or self.options == "own":
            return []
        known = self.own_options | SET_UP | _IMPLEMENTATION | {"step", "layers", "param_names"}
        return sorted({name for group in self.groups for name, x in group.items() if name not in known and _says(x)})

    def lacks(self, member: Member, keys: Sequence[str]) -> None:
        """Refuse a parameter that lacks some of its states; or leave it as it is, unless strict.

        Raises:
            CheckpointMismatch: naming both.
        """
        if self.strict:
            raise CheckpointMismatch(
                f"{self.owner}: the checkpoint lacks {some(keys)} of {member.name}: save it anew, or leave that "
                "parameter's state as it is with strict=False"
            )
        self.result.missing_keys.extend(f"{member.name}.{key}" for key in keys)
        member.saved.clear()

    def has_besides(self, member: Member, keys: Sequence[str], what: str) -> None:
        """Refuse states that do not belong here; or leave them out, unless strict.

        Raises:
            CheckpointMismatch: naming them, and ``what`` they are.
        """
        if self.strict:
            raise CheckpointMismatch(f"the checkpoint holds {some(keys)} for {member.name}, {what}")
        self.result.unexpected_keys.extend(f"{member.name}.{key}" for key in keys)
        for key in keys:
            del member.saved[key]

    def check_shape(self, member: Member, key: str, *shapes: Sequence[int]) -> None:
        """Refuse a saved tensor that has none of the shapes which it may have.

        Raises:
            CheckpointMismatch: naming both.
        """
        found = tuple(member.saved[key].shape)
        if OWN_SHAPE not in key and found not in map(tuple, shapes):
            raise CheckpointMismatch(
                f"{self.owner}: {key} of {member.name} in the checkpoint has shape {found} instead of "
                f"{tuple(shapes[0])}: the checkpoint belongs to another model, to another order of it, or to other "
                "options"
            )


def _says(x: Any) -> bool:
    """False for an option that is off."""
    return isinstance(x, Tensor) or bool(x)


def _entry(saved: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter's saved state, without what is not there."""
    # torch has None for a buffer to come; torch.distributed.checkpoint an empty dict for what was not saved
    entry = {key: x for key, x in saved.items() if not (x is None or isinstance(x, dict))}
    if entry and "step" not in entry and "step" in options:  # pytorch_optimizer counts in the group
        entry["step"] = options["step"]
    return entry


def layers_of(groups: Sequence[Mapping[str, Any]]) -> list[Layer]:
    """The layers of an optimizer as its groups tell them, the innermost first; none for others than this library's."""
    return [(str(name), int(version)) for name, version in groups[0].get("layers", ())] if groups else []


def check_layers(saved: Sequence[Layer], own: Sequence[Layer], owner: str, *, strict: bool) -> None:
    """Refuse a state whose wrappers are others, or which a newer version has saved.

    Raises:
        CheckpointMismatch: with the remedy.
    """
    versions = dict(own)
    for name, version in saved:
        if version > versions.get(name, version):
            raise CheckpointMismatch(
                f"the checkpoint was saved by version {version} of {name}, this is version {versions[name]}: upgrade "
                "the package that it comes from"
            )
    theirs, ours = ([name for name, _ in side[1:]] for side in (saved, own))
    if saved and strict and theirs != ours:
        raise CheckpointMismatch(
            f"the checkpoint was saved with the wrappers {', '.join(theirs) or 'none'} (the innermost first), this "
            f"optimizer of {owner} has {', '.join(ours) or 'none'}: build it with the same wrappers in the same "
            "order, or take what both have with strict=False"
        )


def with_each_parameter(saved: dict[str, Any]) -> dict[str, Any]:
    """A state dict in which parameters without a state have an empty one, if others have some.

    ``torch.distributed.checkpoint`` refuses to load what lacks one.
    """
    number = sum(len(group["params"]) for group in saved["param_groups"])
    states = {k: saved["state"].get(k, {}) for k in range(number)} if any(saved["state"].values()) else {}
    return saved | {"state": states}


def before_loading(optimizer: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
    """What an optimizer's hooks make of a state dict that is to be loaded."""
    state_dict = dict(state_dict)
    for change in optimizer._optimizer_load_state_dict_pre_hooks.values():
        state_dict = change(optimizer, state_dict) or state_dict
    return state_dict


def after_loading(optimizer: Optimizer) -> None:
    """Call an optimizer's hooks for a state dict that has been loaded."""
    for finish in optimizer._optimizer_load_state_dict_post_hooks.values():
        finish(optimizer)
