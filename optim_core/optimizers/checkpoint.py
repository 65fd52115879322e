"""Matching a saved state with the optimizer that is to take it over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optim_core.errors import CheckpointMismatch
from optim_core.methods.method import Method
from optim_core.rules.values import Level


def matched(state_dict: Mapping[str, Any], groups: Sequence[Mapping[str, Any]], owner: str) -> dict[str, Any]:
    """The state dict in the order of the optimizer's own parameters.

    By names if both sides know them: reordered layers keep their own state. Otherwise by position, as torch does.

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
    index = {name: k for g in saved for name, k in zip(g["param_names"], g["params"], strict=True)}
    home = {name: g for g in saved for name in g["param_names"]}
    ours = [name for g in groups for name in g["param_names"]]
    missing, foreign = [n for n in ours if n not in index], sorted(set(index) - set(ours))
    if missing or foreign:
        raise CheckpointMismatch(
            f"{owner}: the checkpoint belongs to another model. It lacks {_some(missing)} "
            f"and has {_some(foreign)} besides"
        )
    position = {name: k for k, name in enumerate(ours)}
    state = {position[name]: state_dict["state"][k] for name, k in index.items() if k in state_dict["state"]}
    others = {k: v for k, v in state_dict["state"].items() if not isinstance(k, int)}
    new_groups: list[dict[str, Any]] = []
    for g in groups:
        names = list(g["param_names"])
        options = dict(home[names[0]] if names else saved[len(new_groups)])
        new_groups.append(options | {"params": [position[n] for n in names], "param_names": names})
    return dict(state_dict) | {"state": state | others, "param_groups": new_groups}


def _some(names: Sequence[str]) -> str:
    if not names:
        return "nothing"
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def check_states(state_dict: Mapping[str, Any], groups: Sequence[Mapping[str, Any]], method: Method) -> None:
    """Refuse what another method has saved.

    Raises:
        CheckpointMismatch: states are unknown, or have another shape than the parameter's.
        InvalidOption: a group's option is out of range.
    """
    known = {"step", *method.local}
    params = [p for g in groups for p in g["params"]]
    for group in state_dict["param_groups"]:
        method.check_group({k: v for k, v in group.items() if k in method.hypers})
    for p, saved in zip(params, in_order(state_dict), strict=True):
        strange = sorted(set(saved) - known)
        if strange:
            raise CheckpointMismatch(
                f"the checkpoint holds {_some(strange)}, which {method.name} does not keep (it keeps "
                f"{', '.join(method.local) or 'no state'}): it was saved by another method"
            )
        for name in saved:
            declared = method.local.get(name)
            if (
                declared is not None
                and declared.shape is None
                and declared.every is None
                and declared.level is Level.ELEMENT
            ):
                for x in saved[name] if isinstance(saved[name], list) else [saved[name]]:
                    if tuple(x.shape) != tuple(torch.view_as_real(p).shape if p.is_complex() else p.shape):
                        raise CheckpointMismatch(
                            f"{method.name}: {name} in the checkpoint has shape {tuple(x.shape)}, its parameter "
                            f"{tuple(p.shape)}: the checkpoint belongs to another model, or to another order of it"
                        )


def in_order(state_dict: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The saved state of each parameter, in the order of the groups; empty where there is none."""
    return [state_dict["state"].get(k, {}) for g in state_dict["param_groups"] for k in g["params"]]


def restored(saved: Mapping[str, Any], p: Tensor, dtype_of: Callable[[str], torch.dtype]) -> dict[str, Any]:
    """A parameter's state on its device, in the types that its states have, in memory of its own."""

    def tensor(x: Any, name: str) -> Any:
        return x.to(device=p.device, dtype=dtype_of(name), copy=True) if isinstance(x, Tensor) else x

    result = {k: [tensor(x, k) for x in v] if isinstance(v, list) else tensor(v, k) for k, v in saved.items()}
    return result | {"step": int(saved.get("step", 0))}


def copied(saved: Mapping[str, Any]) -> dict[str, Any]:
    """State of the model as a whole, in memory of its own."""
    return {k: v.clone() if isinstance(v, Tensor) else v for k, v in saved.items()}
