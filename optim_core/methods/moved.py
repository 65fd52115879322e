"""Parameters that have been given another type, device or memory since their states began.

``model.half()``, ``model.to(...)`` and ``p.data = ...`` leave the parameter the same object. What is kept for it
follows, to its device and to the type in which it would begin now. Another shape is refused, since nothing says which
element is which.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import torch
from torch import Tensor

from optim_core.engines.tensors import real, shape_of
from optim_core.errors import UnsupportedParameter
from optim_core.methods.declarations import State
from optim_core.methods.states import dtype, keys_of, layout_of, may_have, memory_dtype
from optim_core.names import OWN_SHAPE


def follow(
    states: MutableMapping[str, Any], declarations: Mapping[str, State], p: Tensor, group: Mapping[str, Any], owner: str
) -> None:
    """Have the states of a parameter follow it.

    Args:
        states: by name; what has to be converted is replaced.
        declarations: those of all states that a parameter may have.
        p: the parameter.
        group: its group.
        owner: the method, for messages.

    Raises:
        UnsupportedParameter: the parameter has another shape than it had; nothing is changed then.
    """
    like = real(p.detach())
    moved: dict[str, Tensor | None] = {}
    for name, declared in declarations.items():
        keys = keys_of(states, name)
        if not may_have(declared, p):  # what rounding has cut off a parameter that is rounded no more
            moved |= dict.fromkeys(keys)
            continue
        layout = layout_of(declared, shape_of(p), group) if keys else None
        shapes = {} if layout is None else layout.named(name)
        of_type = dtype(declared, p)
        for key in keys:
            x = states[key]
            if key in shapes and tuple(x.shape) != shapes[key]:
                _refuse(owner, key, x, p)
            if x.dtype != of_type or x.device != like.device:
                moved[key] = _laid_out_like(like, x.to(like.device, of_type))
    for key, value in moved.items():
        if value is None:
            del states[key]
        else:
            states[key] = value


def follow_memory(memory: Mapping[Tensor, MutableMapping[str, Any]], owner: str) -> None:
    """Have what a wrapper keeps follow the parameters: tensors of their shape or of their own, and single numbers.

    Raises:
        UnsupportedParameter: a parameter has another shape than it had; nothing is changed then.
    """
    moved = []
    for p, mine in memory.items():
        for name, x in mine.items():
            if not isinstance(x, Tensor):
                continue
            if x.ndim and OWN_SHAPE not in name and x.shape not in (p.shape, real(p).shape):
                _refuse(owner, name, x, p)
            of_type = memory_dtype(p) if x.ndim and x.dtype != p.dtype else x.dtype
            if x.device != p.device or x.dtype != of_type:
                moved.append((mine, name, x.to(p.device, of_type)))
    for mine, name, x in moved:
        mine[name] = x


def _refuse(owner: str, name: str, x: Tensor, p: Tensor) -> None:
    raise UnsupportedParameter(
        f"{owner}: {name} has shape {tuple(x.shape)}, which does not fit its parameter of shape {tuple(p.shape)} any "
        "more: its data has been exchanged for others, as hosts do that flatten or shard. Build the optimizer after "
        "that, or take the parameter's state out of optimizer.state"
    )


def _laid_out_like(p: Tensor, x: Tensor) -> Tensor:
    if x.shape != p.shape or x.stride() == p.stride():
        return x
    return torch.empty_like(p, dtype=x.dtype).copy_(x)
