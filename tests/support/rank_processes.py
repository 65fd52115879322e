"""One of several processes that train one model together, each on data, and from a seed, of its own.

python -m support.rank_processes RANK PROCESSES FILE NAME...

The first process writes JSON: by name, where the replicas on each rank have got to.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

import optim_core
from support.processes import take_part


def trained(name: str, rank: int, **attributes: Any) -> list[list[float]]:
    """The weights of each rank after some steps."""
    torch.manual_seed(rank)
    model = nn.parallel.DistributedDataParallel(nn.Linear(3, 2, dtype=torch.float64))  # takes the first rank's weights
    optimizer: Any = optim_core.get(name)(model.parameters())
    for attribute, value in attributes.items():
        setattr(optimizer, attribute, value)
    x = torch.randn(4, 3, dtype=torch.float64) + rank
    for _ in range(3):
        optimizer.minimize(lambda: model(x).square().mean())
    return by_rank(model.module.weight.detach().flatten())


def left_out(rank: int) -> list[list[float]]:
    """The weights of each rank, and the steps that it has left out, where the loss of the second is not finite once."""
    model = nn.parallel.DistributedDataParallel(nn.Linear(3, 2, dtype=torch.float64))
    optimizer: Any = optim_core.get_wrapper("skip_nonfinite")(torch.optim.SGD(model.parameters(), lr=0.1))
    x = torch.ones(4, 3, dtype=torch.float64)
    for t in range(3):
        strange = float("nan") if rank == 1 and t == 1 else 0.0
        optimizer.minimize(lambda strange=strange: model(x).square().mean() + strange)
    return by_rank(torch.cat([model.module.weight.detach().flatten(), torch.tensor([float(optimizer.left_out)])]))


def estimated() -> list[list[float]]:
    """The weights of each rank, whose gradients are estimated of the losses on all."""
    model = nn.parallel.DistributedDataParallel(nn.Linear(3, 2, dtype=torch.float64))
    optimizer: Any = optim_core.get_wrapper("spsa")(torch.optim.SGD(model.parameters(), lr=0.1))
    x = torch.ones(4, 3, dtype=torch.float64) + dist.get_rank()
    for _ in range(3):
        optimizer.minimize(lambda: model(x).square().mean())
    return by_rank(model.module.weight.detach().flatten())


def by_rank(mine: torch.Tensor) -> list[list[float]]:
    """What each rank has."""
    everybody_s = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(everybody_s, mine)
    return [each.tolist() for each in everybody_s]


def main() -> None:
    """Take part."""
    rank, processes, file, *names = sys.argv[1:]

    def found() -> dict[str, Any]:
        alone = {"alig, by itself": trained("alig", int(rank), process_group=None)}
        together = {"left out": left_out(int(rank)), "estimated": estimated()}
        return {name: trained(name, int(rank)) for name in names} | alone | together

    take_part(rank, processes, file, found)


if __name__ == "__main__":
    main()
