"""Hosts that leave each process with pieces of a model, as plain tensors: FSDP1, and ZeroRedundancyOptimizer.

Nothing about such a tensor says that other processes hold the rest: shapes are not those of the model, sums lack what
the others have, and draws repeat theirs. What goes no farther than a piece does not care. All else is refused, when it
is built or at its first draw. (DTensors, FSDP2's parameters, are no such pieces: they know the whole.)
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optim_core.catalog.needs import Need
from optim_core.errors import UnsupportedParameter
from optim_core.rules.values import Level


@dataclass(frozen=True)
class HostOfPieces:
    """Such a host.

    Attributes:
        name: its name.
        pieces: what it leaves a process with, in words.
        reach: how far from an element what it depends on is within a piece: ELEMENT, or TENSOR if tensors are whole.
        refuses: needs that cannot be met under it.
        holds_wrappers: False if wrappers go around it.
        way_on: what to do instead, in words.
    """

    name: str
    pieces: str
    reach: Level
    refuses: frozenset[Need]
    holds_wrappers: bool
    way_on: str


FSDP1 = HostOfPieces(
    "FSDP1 (FullyShardedDataParallel)",
    "parameters are flat pieces",
    Level.ELEMENT,
    frozenset(),
    holds_wrappers=True,
    way_on="shard with FSDP2 (fully_shard), or choose a method that works element by element, such as adamw",
)
ZERO = HostOfPieces(
    "ZeroRedundancyOptimizer",
    "each process has some of the parameters only",
    Level.TENSOR,
    frozenset({"train_eval_mode"}),  # the processes exchange parameters after steps only
    holds_wrappers=False,
    way_on="shard with FSDP2 (fully_shard), choose a method that takes each tensor by itself, such as adamw, and put "
    "wrappers around ZeroRedundancyOptimizer",
)

_ZERO_MODULE = "torch.distributed.optim.zero_redundancy_optimizer"


def host_of_pieces(params: Iterable[Tensor]) -> HostOfPieces | None:
    """The host that leaves other processes with the rest of what these parameters are pieces of, or None.

    To be asked while an optimizer is built over them: ZeroRedundancyOptimizer leaves no trace on parameters, but is at
    work then.
    """
    if is_flat(params):
        return FSDP1
    return ZERO if _zero_is_building() else None


def is_flat(params: Iterable[Tensor]) -> bool:
    """True if one of these parameters is a flat piece that FSDP1 has made of others."""
    return any(getattr(p, "_fsdp_flattened", False) for p in params)


def _zero_is_building() -> bool:
    zero: Any = getattr(sys.modules.get(_ZERO_MODULE), "ZeroRedundancyOptimizer", None)
    frame = None if zero is None else sys._getframe(1)
    while frame is not None:
        # by its module first: to look at a frame's locals is slow
        if frame.f_globals.get("__name__") == _ZERO_MODULE:
            host = frame.f_locals.get("self")
            if isinstance(host, zero) and getattr(host, "world_size", 1) > 1:
                return True
        frame = frame.f_back
    return False


@contextmanager
def left_alone(params: Sequence[Tensor], state: Any, owner: str, host: HostOfPieces | None) -> Iterator[None]:
    """For the time of a ``with``, hold a method to make nothing of pieces by what they are when it is built.

    Args:
        params: the pieces.
        state: the optimizer's state.
        owner: the method, for messages.
        host: that of the pieces, if they are some.

    Raises:
        UnsupportedParameter: it has changed them, which other processes would not hear of; or it has begun states for
            tensors that are not whole. All is as before then.
    """
    if host is None:
        yield
        return
    before = [p.detach().clone() for p in params]
    yield
    if all(map(torch.equal, params, before)) and (host.reach > Level.ELEMENT or not any(p in state for p in params)):
        return
    with torch.no_grad():
        for p, x in zip(params, before, strict=True):
            p.copy_(x)
            state.pop(p, None)
    refuse_pieces(owner, host)


def refuse_pieces(owner: str, host: HostOfPieces) -> None:
    """Refuse pieces, for what goes farther.

    Args:
        owner: the method or wrapper, for the message.
        host: as :func:`host_of_pieces` returns it.

    Raises:
        UnsupportedParameter: with the remedy.
    """
    raise UnsupportedParameter(
        f"{owner} cannot work under {host.name}, where {host.pieces}: with these options a step depends on shapes, "
        f"sums, draws or evaluations of the whole. Instead {host.way_on}"
    )
