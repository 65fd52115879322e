"""Saved states of parameters, held against what a method declares."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from typing import Any

from torch import Tensor

from optim_core.engines.tensors import real, shape_of
from optim_core.errors import CheckpointMismatch
from optim_core.methods.method import Method
from optim_core.methods.states import ROUNDING_STATES, Shape, key_of, layout_of, may_have, state_of_key
from optim_core.optimizers.checkpoint import Loading, Member
from optim_core.optimizers.matching import some


def check_states(loading: Loading, method: Method, wrappers: Sequence[str]) -> None:
    """Refuse what a method cannot go on with; unless strict, leave it out, or let it begin anew.

    Args:
        loading: the state, matched.
        method: the method.
        wrappers: the wrappers around it, whose tensors stand among the states.

    Raises:
        CheckpointMismatch: states are missing, unknown, or have another shape; options are unknown.
        InvalidOption: a group's option is out of range.
    """
    unknown = loading.unknown_options()
    if unknown:
        raise CheckpointMismatch(
            f"{method.name}: the checkpoint is another library's, whose options {some(unknown)} are unknown here: "
            "options='own' takes over its states, with the options of this optimizer"
        )
    begun = [member for member in loading.members if member.saved]
    for member in begun:  # whose states these are is a better answer than which of its options is out of range
        _refuse_strange(loading, member, method, _of_wrappers(member, wrappers), method.parameter_states)
    for group in loading.groups:
        method.check_group({name: x for name, x in group.items() if name in method.hypers})
    for member in begun:
        if member.saved:
            _check_member(loading, member, method, wrappers)


def _of_wrappers(member: Member, wrappers: Sequence[str]) -> set[str]:
    """The saved keys of what wrappers keep."""
    return {key for key in member.saved if any(key.startswith(f"{wrapper}_") for wrapper in wrappers)}


def _refuse_strange(
    loading: Loading, member: Member, method: Method, known: Collection[str], names: Container[str]
) -> None:
    """Refuse saved keys that are not known, and belong to none of the states of these names."""
    known = {*known, "step"}
    strange = [key for key in sorted(member.saved) if key not in known and state_of_key(key, names) not in names]
    if strange:
        keeps = ", ".join(method.parameter_states) or "no state"
        loading.has_besides(
            member,
            strange,
            f"which {method.name} does not keep (it keeps {keeps}): another method has saved it, or other options",
        )


def _check_member(loading: Loading, member: Member, method: Method, wrappers: Sequence[str]) -> None:
    now = _shapes(method, member.p, member.group)
    then = _shapes(method, member.p, {**member.group, **member.options})
    kept = _of_wrappers(member, wrappers)
    idle = {name for name in method.parameter_states if name not in now and key_of(name, 0) not in now}
    _refuse_strange(loading, member, method, {*now, *kept, *idle}, idle)
    missing = [key for key in then if key in now and key not in member.saved and key not in ROUNDING_STATES]
    if missing and set(member.saved) - kept:
        loading.lacks(member, missing)
    for key, x in member.saved.items():
        if key in now:
            member.saved[key] = real(x)  # torch keeps complex ones
            loading.check_shape(member, key, now[key])
        elif key in kept and isinstance(x, Tensor) and x.ndim:
            loading.check_shape(member, key, member.p.shape, real(member.p).shape)


def _shapes(method: Method, p: Tensor, group: Mapping[str, Any]) -> dict[str, Shape]:
    """The shape of each state of a parameter, with a group's options in force."""
    shapes: dict[str, Shape] = {}
    for name, declared in method.parameter_states.items():
        layout = layout_of(declared, shape_of(p), group) if may_have(declared, p) else None
        shapes |= {} if layout is None else layout.named(name)
    return shapes
