"""What must be the same on all ranks of a distributed training, although each rank has numbers of its own.

DDP and FSDP average gradients. What a method takes from elsewhere is a rank's own: the value of the loss, seeds. Where
that meets averaged gradients, replicas would drift apart.

torch.distributed is used only if somebody has imported it: it is slow to import, and not in every build of torch.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from optim_core.engines.sharded import is_sharded
from optim_core.optimizers.gradients import parameters

#: In the place of a process group: the mesh of sharded parameters, or torch's default group.
DEFAULT = "default"


def process_groups(optimizer: Optimizer) -> list[Any]:
    """The groups of processes that train together; none if this process trains by itself.

    An optimizer's attribute ``process_group`` says which: a group of ``torch.distributed``; None for this process by
    itself; :data:`DEFAULT`, also where there is no such attribute, for those over whose mesh parameters are sharded
    (DTensor), or else for all.
    """
    chosen = getattr(optimizer, "process_group", DEFAULT)
    dist: Any = sys.modules.get("torch.distributed")
    if chosen is None or dist is None or not dist.is_available() or not dist.is_initialized():
        return []
    groups = [chosen]
    if isinstance(chosen, str):
        sharded: Any = next((p for p in parameters(optimizer) if is_sharded(p)), None)
        groups = [dist.group.WORLD] if sharded is None else sharded.device_mesh.get_all_groups()
    return [group for group in groups if dist.get_world_size(group) > 1]


def count(optimizer: Optimizer) -> int:
    """How many processes train together; 1 if this one trains by itself."""
    dist: Any = sys.modules.get("torch.distributed")
    return math.prod(dist.get_world_size(group) for group in process_groups(optimizer))


def mean(x: Tensor, optimizer: Optimizer) -> Tensor:
    """The mean over ranks of a tensor that each rank has; all of them must call this."""
    for group in process_groups(optimizer):
        x = _reduced(x, group, "SUM") / sys.modules["torch.distributed"].get_world_size(group)
    return x


def agreed(seed: int, optimizer: Optimizer) -> int:
    """A seed that is the same on all ranks, which must all call this: the largest."""
    groups = process_groups(optimizer)
    x = torch.tensor(seed, dtype=torch.int64, device="cpu") if groups else None
    for group in groups:
        x = _reduced(x, group, "MAX")
    return seed if x is None else int(x)


def any_rank(fact: bool, optimizer: Optimizer) -> bool:
    """Whether something is so on any rank; all of them must call this."""
    return bool(agreed(int(fact), optimizer))


def _reduced(x: Any, group: Any, operation: str) -> Tensor:
    dist: Any = sys.modules["torch.distributed"]
    there = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend(group) == "nccl" else x.device
    summed = x.detach().to(there, copy=True)
    dist.all_reduce(summed, op=getattr(dist.ReduceOp, operation), group=group)
    return summed.to(x.device)  # type: ignore[no-any-return]
