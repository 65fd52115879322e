"""One of two processes that hold pieces of a model: every method and wrapper under FSDP1 or ZeroRedundancyOptimizer.

python -m support.piece_processes HOST RANK FILE

HOST is a key of HOSTS. The first process writes JSON: by name, what comes of each beside training in one process.
"""

from __future__ import annotations

import copy
import datetime as dt
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.nn.parallel import DistributedDataParallel

import optim_core
from optim_core.errors import OptimCoreError
from support.kinds import Kind, all_kinds
from support.processes import take_part

PROCESSES = 2
STEPS = 4
#: One that waits for the other in vain, since the other was refused, says so.
TIMEOUT = dt.timedelta(seconds=20)
X = torch.linspace(-1, 1, 24, dtype=torch.float64).reshape(8, 3)

#: From a kind and a model to the model as the host has it, and its optimizer.
Host = Callable[[Kind, nn.Module], tuple[nn.Module, Any]]


def model() -> nn.Module:
    """A small one, the same in each process, whose weights are shared out unevenly."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def fsdp1(kind: Kind, plain: nn.Module) -> tuple[nn.Module, Any]:
    """Flat pieces, under the names of the parameters."""
    whole = FullyShardedDataParallel(plain, use_orig_params=True, device_id=torch.device("cpu"))
    return whole, kind.make(whole.parameters())


def zero_class() -> Any:
    """torch's class, whose module warns of itself when it is imported."""
    from torch.distributed.optim import ZeroRedundancyOptimizer

    return ZeroRedundancyOptimizer


def zero(kind: Kind, plain: nn.Module) -> tuple[nn.Module, Any]:
    """Some of the parameters, each whole."""
    whole = DistributedDataParallel(plain)
    return whole, zero_class()(whole.parameters(), optimizer_class=kind.make)


def around_zero(kind: Kind, plain: nn.Module) -> tuple[nn.Module, Any]:
    """A wrapper that sees all parameters, around what updates some of them."""
    whole = DistributedDataParallel(plain)
    inner: Any = optim_core.get("adamw")
    return whole, kind.make(whole.parameters(), inner=lambda params, **o: zero_class()(params, inner, **o))


HOSTS: dict[str, Host] = {"fsdp1": fsdp1, "zero": zero, "around zero": around_zero}


def trained(host: Host, kind: Kind) -> list[Tensor]:
    """The whole parameters after some steps."""
    start = model()
    whole, optimizer = host(kind, copy.deepcopy(start))

    def loss() -> Any:
        y = whole(X).square()
        return [y[:, 0].mean(), (y[:, 1] + y[:, 0]).mean()] if kind.needs("multi_loss") else y.mean()

    for _ in range(STEPS):
        optim_core.minimize(optimizer, loss)
    if isinstance(whole, FullyShardedDataParallel):
        with FullyShardedDataParallel.summon_full_params(whole):
            return [p.detach().clone() for p in whole.parameters()]
    return [p.detach() for p in whole.parameters()]


def alone(kind: Kind, plain: nn.Module) -> tuple[nn.Module, Any]:
    """This process by itself; without names, which ZeroRedundancyOptimizer does not hand on."""
    return plain, kind.make(plain.parameters())


def outcome(host: Host, kind: Kind) -> str:
    """ "same", or what is wrong, or why it is refused."""
    try:
        wanted = trained(alone, kind)
        got = trained(host, kind)
    except OptimCoreError as error:
        return f"{type(error).__name__}: {error}"
    except Exception as error:  # noqa: BLE001 - the others go on
        return f"failed with {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    off = max(float((a - b).abs().max()) for a, b in zip(got, wanted, strict=True))
    return "same" if off < 1e-9 else f"off by {off}"


def main() -> None:
    """Take part."""
    host, rank, file = sys.argv[1:]

    def found() -> dict[str, Any]:
        kinds = [kind for kind in all_kinds() if host != "around zero" or kind.spec.kind == "wrapper"]
        return {kind.spec.name: outcome(HOSTS[host], kind) for kind in kinds}

    take_part(rank, str(PROCESSES), file, found, TIMEOUT)


if __name__ == "__main__":
    main()
