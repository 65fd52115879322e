"""One of several processes that hold parameters in parts: each method, or wrapper, against itself on whole parameters.

python -m support.sharded_processes KIND RANK PROCESSES FILE

KIND is optimizer, model or wrapper; the first process writes JSON.
"""

from __future__ import annotations

import copy
import functools
import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard, distribute_tensor
from torch.nn import Parameter

import optim_core
from optim_core.errors import OptimCoreError
from support.processes import take_part
from support.wrappers import base_only_specs, required_options

#: Rows that can be shared out evenly, and that cannot.
SHAPES = ((4, 3), (5,), (3, 2, 2, 2))
STEPS = 4


def whole(x: Any) -> Tensor:
    """A tensor of which there may be parts elsewhere."""
    return x.full_tensor() if hasattr(x, "full_tensor") else x  # type: ignore[no-any-return]


def losses(params: list[Parameter]) -> list[Tensor]:
    """One for each parameter."""
    return [whole((p * p).sum()) + whole((p - 0.3 * k).sin().sum()) for k, p in enumerate(params)]


def trained(make: Any, params: list[Parameter], *, several: bool) -> list[Tensor]:
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


def compared(run: Callable[[DeviceMesh | None], list[Tensor]]) -> str:
    """What comes of sharded parameters: "same", or what is wrong with them, or why they are refused."""
    try:
        wanted = run(None)
        got = run(init_device_mesh("cpu", (dist.get_world_size(),)))
    except OptimCoreError as error:
        return f"{type(error).__name__}: {error}"
    except Exception as error:  # noqa: BLE001 - the others go on
        return f"failed with {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    off = [float((a - b).abs().max()) for a, b in zip(got, wanted, strict=True)]
    return "same" if max(off) < (1e-4 if wanted[0].dtype.itemsize < 8 else 1e-9) else f"off by {off}"


def outcome(make: Any, *, several: bool = False, dtype: torch.dtype = torch.float32) -> str:
    """The same for parameters that are shared out by hand."""

    def run(mesh: DeviceMesh | None) -> list[Tensor]:
        torch.manual_seed(0)
        first = [torch.randn(shape).to(dtype) for shape in SHAPES]
        placed = [x if mesh is None else distribute_tensor(x, mesh, [Shard(0)]) for x in first]
        return trained(make, [Parameter(x) for x in placed], several=several)

    return compared(run)


def fully_sharded(make: Any) -> str:
    """The same for a model that FSDP2 has shared out."""

    def run(mesh: DeviceMesh | None) -> list[Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
        if mesh is not None:
            for layer in (model[0], model[2], model):
                fully_shard(layer, mesh=mesh)
        optimizer = make(list(model.named_parameters()))
        x = torch.linspace(-1, 1, 40).reshape(8, 5)
        for _ in range(STEPS):
            optim_core.minimize(optimizer, lambda: model(x).square().sum())
        return [whole(p.detach()) for p in model.parameters()]

    return compared(run)


def makers() -> dict[str, Any]:
    """Every optimizer, as what makes it."""
    found = {}
    for spec in optim_core.find(kind="optimizer"):
        options = {"total_steps": 10} if "total_steps" in spec.needs else {}
        found[spec.name] = functools.partial(optim_core.get(spec.name), **options)
    return found


def methods() -> dict[str, str]:
    """Every optimizer."""
    found = {name: outcome(make) for name, make in makers().items()}
    # A line search magnifies the rounding of a sum: what differs by nothing else agrees in float64.
    found |= {n: outcome(makers()[n], dtype=torch.float64) for n, said in found.items() if said.startswith("off by")}
    for rounding in ("nearest", "stochastic", "kahan"):
        make = functools.partial(optim_core.get("adamw"), lr=0.01, rounding=rounding)
        found[f"adamw, bfloat16, {rounding}"] = outcome(make, dtype=torch.bfloat16)
    return found


def models() -> dict[str, str]:
    """Every optimizer on a model of FSDP2."""
    return {name: fully_sharded(make) for name, make in makers().items()}


def wrapped() -> dict[str, str]:
    """Every wrapper that needs only a base, around ours and torch's."""
    found = {}
    for spec in base_only_specs():
        wrapper: Any = optim_core.get_wrapper(spec.name)
        for base in ("torch:adamw", "adamw"):

            def make(named: Any, base: str = base, wrapper: Any = wrapper) -> Any:
                inner = optim_core.get(base)(named, lr=0.05, weight_decay=0.0)
                return wrapper(inner, **required_options(wrapper))

            found[f"{spec.name} around {base}"] = outcome(make, several="multi_loss" in spec.needs)
    return found


#: What can be asked for.
KINDS = {"optimizer": methods, "model": models, "wrapper": wrapped}


def main() -> None:
    """Take part."""
    kind, *place = sys.argv[1:]
    take_part(*place, KINDS[kind])


if __name__ == "__main__":
    main()
