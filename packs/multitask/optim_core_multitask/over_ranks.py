"""Gradients and norms of the whole batch, where each rank has a part of it.

What becomes of one task's gradient depends on the others', so that what DistributedDataParallel does to a sum of
gradients comes too late: they are averaged here, task by task, and each rank goes on with the same numbers. Parts of
sharded gradients have been added up already, and stay as they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from optim_core.methods import compute_dtype, is_sharded, real
from optim_core.optimizers import count_ranks, mean_over_ranks


def averaged(
    params: Sequence[Tensor], gradients: Sequence[Sequence[Tensor | None]], optimizer: Optimizer
) -> Sequence[Sequence[Tensor | None]]:
    """The mean over ranks of the gradients of each task; all ranks must call this.

    Args:
        params: the parameters.
        gradients: of each task one for each parameter. What a task reaches on any rank it reaches on all.
        optimizer: tells which ranks there are.
    """
    if count_ranks(optimizer) == 1 or not params:
        return gradients
    reached = [[g is not None for g in own] for own in gradients]
    shares = mean_over_ranks(torch.tensor(reached, dtype=torch.float64, device=params[0].device), optimizer).tolist()
    return [_mean(params, own, where, optimizer) for own, where in zip(gradients, shares, strict=True)]


def _mean(
    params: Sequence[Tensor], gradients: Sequence[Tensor | None], shares: Sequence[float], optimizer: Optimizer
) -> list[Tensor | None]:
    found = list(gradients)
    alike: dict[tuple[torch.device, torch.dtype], list[int]] = defaultdict(list)
    for i, (p, share) in enumerate(zip(params, shares, strict=True)):
        if share and not is_sharded(p):
            alike[p.device, compute_dtype(real(p))].append(i)
    for (device, dtype), at in alike.items():  # the same on all ranks, in the same order
        parts = [torch.zeros_like(params[i]) if (g := gradients[i]) is None else g for i in at]
        together = torch.cat([real(x).reshape(-1).to(device=device, dtype=dtype) for x in parts])
        means = torch.split(mean_over_ranks(together, optimizer), [real(x).numel() for x in parts])
        for i, x, mean in zip(at, parts, means, strict=True):
            found[i] = new = torch.empty_like(x)
            real(new).copy_(mean.view(real(x).shape))
    return found


def average_in_place(params: Sequence[Tensor], optimizer: Optimizer) -> None:
    """Give parameters the mean over ranks of their gradients; all ranks must call this."""
    (means,) = averaged(params, [[p.grad for p in params]], optimizer)
    for p, g in zip(params, means, strict=True):
        p.grad = g


def norms_over_ranks(local: Tensor, optimizer: Optimizer) -> Tensor:
    """Norms of gradients of the mean loss of all ranks by the whole batch, from those of each rank by its own part."""
    ranks = count_ranks(optimizer)
    return local if ranks == 1 else (mean_over_ranks(local.square(), optimizer) / ranks).sqrt()
