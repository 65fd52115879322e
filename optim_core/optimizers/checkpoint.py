"""Matching a saved state with the optimizer that is to take it over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from optim_core.engines.tensors import real
from optim_core.errors import CheckpointMismatch
from optim_core.methods.method import Method
from optim_core.methods.states import is_like_parameter


def align(state_dict: Mapping[str, Any], groups: Sequence[Mapping[str, Any]], owner: str) -> dict[str, Any]:
    """Return the state dict in the order of the optimizer's own parameters.

    Parameters are matched by name if both sides know the names, so that reordered layers keep their own state;
    otherwise by position, as torch does.

    Raises:
        CheckpointMismatch: groups or parameters do not correspond.
    """
    saved = state_dict["param_groups"]
    if all("param_names" in g for g in (*saved, *groups)):
        return _by_name(state_dict, groups, owner)
    ours, theirs = ([len(g["params"]) for g in side] for side in (groups, saved))
    if ours != theirs:
        raise CheckpointMismatch(
            f"{owner} has {_sizes(ours)}, the checkpoint {_sizes(theirs)}: build the optimizer over the same model and "
            "groups as the one that was saved"
        )
    return dict(state_dict)


def _sizes(sizes: Sequence[int]) -> str:
    return f"{len(sizes)} groups of {', '.join(map(str, sizes))} parameters"


def _by_name(state_dict: Mapping[str, Any], groups: Sequence[Mapping[str, Any]], owner: str) -> dict[str, Any]:
    saved = state_dict["param_groups"]
    saved_index = {name: k for g in saved for name, k in zip(g["param_names"], g["params"], strict=True)}
    saved_group = {name: g for g in saved for name in g["param_names"]}
    ours = [name for g in groups for name in g["param_names"]]
    missing, foreign = [n for n in ours if n not in saved_index], sorted(set(saved_index) - set(ours))
    if missing or foreign:
        raise CheckpointMismatch(
            f"{owner}: the checkpoint belongs to another model. It lacks {_some(missing)} "
            f"and has {_some(foreign)} besides"
        )
    position = {name: k for k, name in enumerate(ours)}
    state = {position[name]: state_dict["state"][k] for name, k in saved_index.items() if k in state_dict["state"]}
    others = {k: v for k, v in state_dict["state"].items() if not isinstance(k, int)}
    new_groups: list[dict[str, Any]] = []
    for g in groups:
        names = list(g["param_names"])
        options = dict(saved_group[names[0]] if names else saved[len(new_groups)])
        new_groups.append(options | {"params": [position[n] for n in names], "param_names": names})
    return dict(state_dict) | {"state": state | others, "param_groups": new_groups}


def _some(names: Sequence[str]) -> str:
    if not names:
        return "nothing"
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def check(state_dict: Mapping[str, Any], groups: Sequence[Mapping[str, Any]], method: Method) -> None:
    """Refuse what another method has saved.

    Raises:
        CheckpointMismatch: states are unknown, or have another shape than the parameter's.
        InvalidOption: a group's option is out of range.
    """
    for group in state_dict["param_groups"]:
        method.check_group({k: v for k, v in group.items() if k in method.hypers})
    params = [p for g in groups for p in g["params"]]
    for p, saved in zip(params, parameter_entries(state_dict), strict=True):
        strange = sorted(set(saved) - {"step", *method.parameter_states})
        if strange:
            raise CheckpointMismatch(
                f"the checkpoint holds {_some(strange)}, which {method.name} does not keep (it keeps "
                f"{', '.join(method.parameter_states) or 'no state'}): it was saved by another method"
            )
        for name, value in saved.items():
            if name in method.parameter_states and is_like_parameter(method.parameter_states[name]):
                for x in value if isinstance(value, list) else [value]:
                    check_shape(x, real(p), name, method.name)


def check_shape(x: Tensor, p: Tensor, name: str, owner: str) -> None:
    """Refuse a saved tensor that should have its parameter's shape and does not.

    Raises:
        CheckpointMismatch: naming both shapes.
    """
    if tuple(x.shape) != tuple(p.shape):
        raise CheckpointMismatch(
            f"{owner}: {name} in the checkpoint has shape {tuple(x.shape)}, its parameter {tuple(p.shape)}: the "
            "checkpoint belongs to another model, or to another order of it"
        )


def parameter_entries(state_dict: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The saved state of each parameter, in the order of the groups; empty where there is none."""
    return [state_dict["state"].get(k, {}) for g in state_dict["param_groups"] for k in g["params"]]
