"""Which tensors the native engine takes, and a bucket's way through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from optim_core.engines import layout as memory
from optim_core.engines.bucket import Bucket
from optim_core.engines.host import Compute, function
from optim_core.engines.lowering import Program, total_program, update_program
from optim_core.engines.native.kernel import Kernel, Pass, Table
from optim_core.engines.native.source import DTYPES
from optim_core.rules.graph import Extent
from optim_core.rules.values import Value


class NativeRun:
    """One bucket on its way through a step.

    Args:
        bucket: what to update; its tensors have passed :func:`obstacle`.
        whole: states on level WHOLE by name, 0-d tensors.

    Raises:
        CompilerError: there is no code for a graph that has not run before.
    """

    def __init__(self, bucket: Bucket, whole: Mapping[str, Tensor]) -> None:
        self.bucket = bucket
        self._whole = {name: float(x) for name, x in whole.items()}  # as they are before the step
        self._totals: dict[int, float] = {}

    def sums(self, together: tuple[int, ...]) -> Sequence[float]:
        """This bucket's part of each total of a pass."""
        return self._execute(together)

    def know(self, together: tuple[int, ...], totals: Sequence[Tensor | float]) -> None:
        """Take in the totals of a pass."""
        self._totals.update(zip(together, map(float, totals), strict=True))

    def value(self, shared: Value) -> float:
        """A value that all parameters share, once all totals are known."""
        functions: dict[object, Compute] = self.bucket.graph.plans
        key = ("native", shared.index)
        if key not in functions:
            functions[key] = function([shared])
        return functions[key](self.bucket.host, self._whole, self._totals)[0]

    def update(self) -> None:
        """Compute and write the new values."""
        self._execute(None)
        # what autograd has saved of the parameters is out of date now
        torch.autograd.graph.increment_version(self.bucket.buffers["p"])

    def _execute(self, together: tuple[int, ...] | None) -> Sequence[float]:
        bucket = self.bucket
        found: Pass | None = bucket.tables.get(together)
        if found is None:
            kernel = _kernel(bucket, together)
            found = bucket.tables[together] = Pass(kernel, _table(bucket, kernel.program))
        addresses = list(map(bucket.locate, found.buffers))
        return found(addresses, found.kernel.scalars(bucket.host, self._whole, self._totals))


def prepare(bucket: Bucket) -> None:
    """Have everything compiled that the bucket's next step runs, before anything is written.

    Raises:
        CompilerError: it cannot be had.
    """
    for together in (*bucket.graph.passes, None):
        _kernel(bucket, together)


def _kernel(bucket: Bucket, together: tuple[int, ...] | None) -> Kernel:
    """The code of the pass that computes some totals, or of the one that writes."""
    graph = bucket.graph
    dtypes = {name: bucket.buffers[name][0].dtype for name in ("p", *graph.buffers)}
    key = ("native", together, bucket.dtype, *dtypes.values())
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
        widths = [p.numel() // p.shape[0] if p.ndim else 1 for p in params]
        bucket.tables[name] = Table(sizes, widths, by_rows=program.by_rows)
    table: Table = bucket.tables[name]
    return table


def obstacle(buffers: Mapping[str, Tensor], homes: Mapping[str, Extent], real: torch.dtype) -> str | None:
    """Why the engine does not take a parameter, or None if it does.

    Args:
        buffers: the parameter's tensors, by name.
        homes: where each of them lives.
        real: the type to compute in.
    """
    if real not in (torch.float32, torch.float64):
        return f"it is of {buffers['p'].dtype}"
    for name, x in buffers.items():
        if x.device.type != "cpu":
            return f"{name} is on {x.device}"
    return memory.obstacle(buffers, homes, DTYPES)
