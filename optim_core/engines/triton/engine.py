"""Which tensors the Triton engine takes, and a bucket's way through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import torch
from torch import Tensor

from optim_core.engines import layout as memory
from optim_core.engines.bucket import Bucket
from optim_core.engines.lowering import Program, total_program, update_program
from optim_core.engines.shared import SharedRun
from optim_core.engines.triton.kernel import Addresses, Kernel, Table, interpreting, upload
from optim_core.engines.triton.source import DTYPES
from optim_core.rules.graph import Extent


class TritonError(Exception):
    """Kernels could not be compiled or loaded; the reason, one line."""


class TritonRun(SharedRun):
    """One bucket on its way through a step; its tensors have passed :func:`obstacle`."""

    def sums(self, together: tuple[int, ...]) -> Sequence[Tensor]:
        """This bucket's part of each total of a pass."""
        kernel = _kernel(self.bucket, together)
        return _execute(self.bucket, kernel, self._scalars(kernel))

    def update(self) -> None:
        """Compute and write the new values."""
        kernel = _kernel(self.bucket, None)
        _execute(self.bucket, kernel, self._scalars(kernel))
        # what autograd has saved of the parameters is out of date now
        torch.autograd.graph.increment_version(self.bucket.buffers["p"])

    def _scalars(self, kernel: Kernel) -> Tensor:
        known = [self.environment[v.index] for v in kernel.scalars]
        host = upload([float(x) for x in known if not isinstance(x, Tensor)], torch.float64, self.bucket.device)
        whole = [x.to(torch.float64) for x in known if isinstance(x, Tensor)]
        return torch.cat([host, torch.stack(whole)]) if whole else host


def prepare(bucket: Bucket) -> None:
    """Have everything compiled that the bucket's next step runs, before anything is written.

    Raises:
        TritonError: it cannot be had.
    """
    try:
        for together in (*bucket.graph.passes, None):
            kernel = _kernel(bucket, together)
            blank = torch.zeros(len(kernel.scalars), dtype=torch.float64, device=bucket.device)
            _execute(bucket, kernel, blank, launch=False)
    except Exception as error:  # what Triton, its assembler and the driver raise has nothing in common
        said = str(error).strip().splitlines()
        raise TritonError(f"{type(error).__name__}: {said[0][:200] if said else 'it said nothing'}") from error


def _execute(bucket: Bucket, kernel: Kernel, scalars: Tensor, *, launch: bool = True) -> Sequence[Tensor]:
    table = _table(bucket, kernel.program)
    addresses = [_addresses(bucket, name, table) for name in kernel.program.buffers]
    return kernel(table, addresses, scalars, launch=launch)


def _kernel(bucket: Bucket, together: tuple[int, ...] | None) -> Kernel:
    """The kernels of the pass that computes some totals, or of the one that writes."""
    graph = bucket.graph
    dtypes = {name: bucket.buffers[name][0].dtype for name in ("p", *graph.buffers)}
    key = ("triton", together, bucket.dtype, *dtypes.values())
    kernels: dict[object, Kernel] = graph.plans
    if key not in kernels:
        program = update_program(graph) if together is None else total_program(graph, together)
        kernels[key] = Kernel(program, dtypes, bucket.dtype)
    return kernels[key]


def _table(bucket: Bucket, program: Program) -> Table:
    name = "rows" if program.by_rows else "elements"
    if name not in bucket.tables:
        params = bucket.buffers["p"]
        sizes = [p.numel() for p in params]
        widths = [p[0].numel() if p.ndim else 1 for p in params]
        bucket.tables[name] = Table(sizes, widths, bucket.device, by_rows=program.by_rows)
    table: Table = bucket.tables[name]
    return table


def _addresses(bucket: Bucket, name: str, table: Table) -> Addresses:
    """The addresses of a buffer's tensors; sent anew where they have moved."""
    now = bucket.locate(name)
    key = f"{name} of {id(table)}"
    kept: Addresses | None = bucket.tables.get(key)
    if kept is None or (kept.listed is not now and kept.listed != now):
        kept = bucket.tables[key] = Addresses(now, table, bucket.device)
    return kept


def obstacle(buffers: Mapping[str, Tensor], homes: Mapping[str, Extent], real: torch.dtype) -> str | None:
    """Why the engine does not take a parameter, or None if it does.

    Args:
        buffers: the parameter's tensors, by name.
        homes: where each of them lives.
        real: the type to compute in.
    """
    missing = _missing()
    if missing is not None:
        return missing
    if real not in (torch.float32, torch.float64):
        return f"it is of {buffers['p'].dtype}"
    for name, x in buffers.items():
        if x.device.type != ("cpu" if interpreting() else "cuda"):
            return f"{name} is on {x.device}, and {_PLACE[interpreting()]}"
    return memory.obstacle(buffers, homes, DTYPES)


_PLACE = {
    True: "Triton's interpreter (TRITON_INTERPRET) works on a CPU only",
    False: "Triton works on CUDA devices only (on a CPU, slowly, with TRITON_INTERPRET=1 set before it is imported)",
}


@cache
def _missing() -> str | None:
    try:
        import triton  # noqa: F401
    except ImportError as error:
        return f"Triton cannot be imported ({error}): pip install triton"
    return None
