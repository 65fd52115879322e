"""One of several processes that hold parameters in parts: each method, or wrapper, against itself on whole parameters.

python sharding.py KIND RANK PROCESSES FILE     KIND is optimizer or wrapper; the first process writes JSON
"""

from __future__ import annotations

import copy
import functools
import json
import os
import sys
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
from torch.nn import Parameter

import optim_core
from optim_core.errors import OptimCoreError

#: Rows that can be shared out evenly, and that cannot.
SHAPES = ((4, 3), (5,), (3, 2, 2, 2))
STEPS = 4


def whole(x: Any) -> Tensor:
    """A tensor of which there may be parts elsewhere."""
    return x.full_tensor() if hasattr(x, "full_tensor") else x  # type: ignore[no-any-return]


def losses(params: list[Parameter]) -> list[Tensor]:
    """One for each parameter."""
    return [whole((p * p).sum()) + whole((p - 0.3 * k).sin().sum()) for k, p in enumerate(params)]


def ends(make: Any, params: list[Parameter], *, several: bool) -> list[Tensor]:
    """The parameters after some steps, with a checkpoint on the way."""
    named = [(f"{k}.weight", p) for k, p in enumerate(params)]
    optimizer: Any = make(named)

    def loss() -> Any:
        return losses(params) if several else torch.stack(losses(params)).sum()

    for t in range(STEPS):
        if t == STEPS // 2:
            saved = copy.deepcopy(optimizer.state_dict())
            optimizer = make(named)
            optimizer.load_state_dict(saved)
        optim_core.minimize(optimizer, loss)
    return [whole(p.detach()) for p in params]


def outcome(make: Any, *, several: bool = False, dtype: torch.dtype = torch.float32) -> str:
    """What comes of sharded parameters: "same", or what is wrong with them, or why they are refused."""
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    torch.manual_seed(0)
    first = [torch.randn(shape).to(dtype) for shape in SHAPES]
    wanted = ends(make, [Parameter(x.clone()) for x in first], several=several)
    try:
        got = ends(make, [Parameter(distribute_tensor(x, mesh, [Shard(0)])) for x in first], several=several)
    except OptimCoreError as error:
        return f"{type(error).__name__}: {error}"
    except Exception as error:  # noqa: BLE001 - the others go on
        return f"failed with {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    off = [float((a - b).abs().max()) for a, b in zip(got, wanted, strict=True)]
    return "same" if max(off) < 1e-4 else f"off by {off}"


def methods() -> dict[str, str]:
    """Every optimizer."""
    found = {}
    for spec in optim_core.find(kind="optimizer"):
        options = {"total_steps": 10} if "total_steps" in spec.needs else {}
        found[spec.name] = outcome(functools.partial(optim_core.get(spec.name), **options))
    for rounding in ("nearest", "stochastic", "kahan"):
        make = functools.partial(optim_core.get("adamw"), lr=0.01, rounding=rounding)
        found[f"adamw, bfloat16, {rounding}"] = outcome(make, dtype=torch.bfloat16)
    return found


def wrapped() -> dict[str, str]:
    """Every wrapper that needs no part of a model, around ours and torch's."""
    found = {}
    for spec in optim_core.find(kind="wrapper"):
        wrapper: Any = optim_core.get_wrapper(spec.name)
        if any(not hasattr(wrapper, name) for name in wrapper.arguments):
            continue
        options: dict[str, Any] = {"max_norm": 1.0} if "max_norm" in wrapper.hypers else {}
        several = "multi_loss" in spec.needs
        for base in ("torch:adamw", "adamw"):

            def make(named: Any, base: str = base, wrapper: Any = wrapper, options: Any = options) -> Any:
                return wrapper(optim_core.get(base)(named, lr=0.05, weight_decay=0.0), **options)

            found[f"{spec.name} around {base}"] = outcome(make, several=several)
    return found


def main() -> None:
    """Take part."""
    kind, rank, processes, file = sys.argv[1:]
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=int(rank), world_size=int(processes))
    found = methods() if kind == "optimizer" else wrapped()
    if rank == "0":
        sys.stdout.write(json.dumps(found) + "\n")
    dist.barrier()  # who leaves while the other still talks takes it along
    dist.destroy_process_group()
    sys.stdout.flush()
    os._exit(0)  # threads of torch.distributed outlive the group now and then, and abort an orderly exit


if __name__ == "__main__":
    main()
