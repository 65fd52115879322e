"""The tensors that the Triton engine takes, and a bucket's way through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import torch
from torch import Tensor

from optim_core.engines import layout
from optim_core.engines.bucket import Bucket
from optim_core.engines.prepared import kernel_of, once
from optim_core.engines.shared import SharedRun
from optim_core.engines.triton.kernel import Addresses, Kernel, Table, interpreting, upload
from optim_core.engines.triton.source import DTYPES
from optim_core.rules.graph import Access


class TritonError(Exception):
    """Kernels could not be compiled or loaded; the reason, one line."""


class TritonRun(SharedRun):
    """One bucket in one step; its tensors have passed :func:`obstacle`."""

    def sums(self, pass_totals: tuple[int, ...]) -> Sequence[Tensor]:
        """This bucket's part of each total of a pass."""
        kernel = kernel_of(self.bucket, Kernel, pass_totals)
        return _execute(self.bucket, kernel, self._scalars(kernel))

    def update(self) -> None:
        """Compute and write the new values."""
        kernel = kernel_of(self.bucket, Kernel, None)
        _execute(self.bucket, kernel, self._scalars(kernel))
        # what autograd has saved of the parameters is out of date now
        torch.autograd.graph.increment_version(self.bucket.buffers["p"])

    def _scalars(self, kernel: Kernel) -> Tensor:
        values = [self.environment[v.index] for v in kernel.scalars]
        host = upload([float(x) for x in values if not isinstance(x, Tensor)], torch.float64, self.bucket.device)
        whole = [x.to(torch.float64) for x in values if isinstance(x, Tensor)]
        return torch.cat([host, torch.stack(whole)]) if whole else host


def prepare(bucket: Bucket) -> None:
    """Compile everything that the bucket's next step runs, before anything is written.

    Raises:
        TritonError: it cannot be compiled.
    """
    try:
        for pass_totals in (*bucket.graph.passes, None):
            kernel = kernel_of(bucket, Kernel, pass_totals)
            blank = torch.zeros(len(kernel.scalars), dtype=torch.float64, device=bucket.device)
            _execute(bucket, kernel, blank, launch=False)
    except Exception as error:  # what Triton, its assembler and the driver raise has nothing in common
        said = str(error).strip().splitlines()
        raise TritonError(f"{type(error).__name__}: {said[0][:200] if said else 'it said nothing'}") from error


def _execute(bucket: Bucket, kernel: Kernel, scalars: Tensor, *, launch: bool = True) -> Sequence[Tensor]:
    by_rows = kernel.program.by_rows
    table = once(bucket.tables, Table, by_rows, lambda: Table(bucket.buffers["p"], by_rows=by_rows))
    addresses = [_addresses(bucket, name, table) for name in kernel.program.buffers]
    return kernel(table, addresses, scalars, launch=launch)


def _addresses(bucket: Bucket, name: str, table: Table) -> Addresses:
    """The addresses of a buffer's tensors; sent again where they have moved."""
    now = bucket.locate(name)
    place = Addresses, (name, table.by_rows)
    sent: Addresses | None = bucket.tables.get(place)
    if sent is None or (sent.on_host is not now and sent.on_host != now):
        sent = bucket.tables[place] = Addresses(now, table, bucket.device)
    return sent


def obstacle(buffers: Mapping[str, Tensor], access: Access, compute_dtype: torch.dtype) -> str | None:
    """The reason why the engine cannot update a parameter, or None if it can.

    Args:
        buffers: the parameter's tensors, by buffer name.
        access: how they are gone over.
        compute_dtype: the type to compute in.
    """
    problem = import_problem()
    if problem is not None:
        return problem
    device, elsewhere = _DEVICES[interpreting()]
    return layout.obstacle(buffers, access, compute_dtype, DTYPES, device, elsewhere)


#: By whether Triton's interpreter runs the kernels: the kind of device, and what to say of tensors on another.
_DEVICES = {
    True: ("cpu", ", and Triton's interpreter (TRITON_INTERPRET) works on a CPU only"),
    False: (
        "cuda",
        ", and Triton works on CUDA devices only (on a CPU, slowly, with TRITON_INTERPRET=1 set before it is imported)",
    ),
}


@cache
def import_problem() -> str | None:
    """The reason why Triton cannot be imported, and the remedy; None if it can."""
    try:
        import triton  # noqa: F401
    except ImportError as error:
        return f"Triton cannot be imported ({error}): pip install triton"
    return None
