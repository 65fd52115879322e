"""One of several processes that train one model on several tasks, each on a part of the batch.

python -m support.multitask_processes RANK PROCESSES FILE NAME...

The first process writes JSON: by name, where the replicas on each rank have got to. A single process has the whole
batch.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
import torch.distributed as dist
from optim_core_multitask.rotations import Rotations
from torch import Tensor, nn

import optim_core
from optim_core.errors import ClosureError
from support.processes import take_part
from support.wrappers import required_options

#: How many parts the batch has.
PARTS = 2
TASKS = 3


class Net(nn.Module):
    """A trunk, a head for each task, and a weight that only the first task reaches, with the last part of a batch."""

    def __init__(self, *, rotating: bool) -> None:
        super().__init__()
        self.trunk = nn.Linear(3, 4, dtype=torch.float64)
        start = torch.eye(4, dtype=torch.float64).expand(TASKS, 4, 4)
        self.rotations = Rotations(TASKS, 4, start=start, weighted=True) if rotating else None
        self.heads = nn.ModuleList([nn.Linear(4, 1, dtype=torch.float64) for _ in range(TASKS)])
        self.gate = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x: Tensor) -> list[Tensor]:
        """The prediction for each task."""
        z = torch.tanh(self.trunk(x))
        shared = [z] * TASKS if self.rotations is None else self.rotations(z)
        return [head(r) for head, r in zip(self.heads, shared, strict=True)]


def loss(outputs: list[Tensor], task: int, parts: list[int], gate: Tensor) -> Tensor:
    """The mean over the parts of the batch that are there of a task's loss."""
    found = []
    for y, part in zip(outputs[task].chunk(len(parts)), parts, strict=True):
        target = torch.linspace(-1, 1, len(y), dtype=y.dtype).unsqueeze(1) * (2 - 3 * task + part)
        own = (task + 1) * (y - target).square().mean()
        found.append(own + gate.square() if (task, part) == (0, PARTS - 1) else own)
    return torch.stack(found).mean()


def trained(name: str, rank: int, processes: int) -> list[list[float]]:
    """The weights on each rank after some steps."""
    torch.manual_seed(rank)
    wrapper: Any = optim_core.get_wrapper(name)
    net = Net(rotating="rotations" in wrapper.arguments)
    model = nn.parallel.DistributedDataParallel(net) if processes > 1 else net  # takes the first rank's weights
    base = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    optimizer = wrapper(base, **required_options(wrapper), **wrapper.arguments_of(net))
    parts = list(range(PARTS)) if processes == 1 else [rank]
    batch = torch.sin(torch.arange(PARTS * 12, dtype=torch.float64).reshape(PARTS * 4, 3) ** 2).chunk(PARTS)
    x = torch.cat([batch[part] for part in parts])

    def losses() -> list[Tensor]:
        outputs = model(x)
        return [loss(outputs, task, parts, net.gate) for task in range(TASKS)]

    if processes > 1:
        for _ in range(4):
            with model.no_sync():
                optimizer.minimize(losses)
    else:
        for _ in range(4):
            optimizer.minimize(losses)
    mine = torch.cat([p.detach().flatten() for p in net.parameters()])
    if processes == 1:
        return [mine.tolist()]
    everybody_s = [torch.empty_like(mine) for _ in range(processes)]
    dist.all_gather(everybody_s, mine)
    return [each.tolist() for each in everybody_s]


def refusals() -> list[str]:
    """What is said in the backward pass, and then in the forward pass, where DistributedDataParallel averages, too."""
    net = Net(rotating=False)
    model = nn.parallel.DistributedDataParallel(net)
    optimizer: Any = optim_core.get_wrapper("pcgrad")(torch.optim.SGD(net.parameters(), lr=0.1))
    x, said = torch.ones(4, 3, dtype=torch.float64), []
    for _ in range(2):
        try:
            optimizer.minimize(lambda: [y.square().mean() for y in model(x)])
        except ClosureError as error:
            said.append(str(error))
    return said


def main() -> None:
    """Take part."""
    rank, processes, file, *names = sys.argv[1:]

    def found() -> dict[str, Any]:
        ends: dict[str, Any] = {name: trained(name, int(rank), int(processes)) for name in names}
        return ends | ({"refusals": refusals()} if int(processes) > 1 else {})

    take_part(rank, processes, file, found)


if __name__ == "__main__":
    main()
