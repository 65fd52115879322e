"""Which tensors the native engine takes, and a bucket's way through it."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from optim_core.rules import memory
from optim_core.rules.bucket import Bucket
from optim_core.rules.graph import Home
from optim_core.rules.lowering import Program, total_program, update_program
from optim_core.rules.native.kernel import Kernel, Table
from optim_core.rules.native.source import DTYPES
from optim_core.rules.values import HOST_OPERATIONS, Level, Value


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
        self._known: dict[int, float] = {}
        for v in bucket.graph.shared:
            if v.op == "input":
                self._known[v.index] = float(bucket.host[v.name] if v.level is Level.HOST else whole[v.name])
            elif v.op == "constant":
                self._known[v.index] = v.number
        self._derive()

    def _derive(self) -> None:
        """Compute the shared values whose operands are known by now."""
        known = self._known
        for v in self.bucket.graph.shared:
            if v.index not in known and v.op != "sum" and all(a.index in known for a in v.args):
                known[v.index] = float(HOST_OPERATIONS[v.op](*(known[a.index] for a in v.args)))

    def sums(self, together: tuple[int, ...]) -> Sequence[float]:
        """This bucket's part of each total of a pass."""
        return self._execute(together)

    def know(self, together: tuple[int, ...], totals: Sequence[Tensor | float]) -> None:
        """Take in the totals of a pass."""
        for i, x in zip(together, totals, strict=True):
            self._known[self.bucket.graph.trace.totals[i].index] = float(x)
        self._derive()

    def value(self, shared: Value) -> float:
        """A value that all parameters share, once all totals are known."""
        return self._known[shared.index]

    def update(self) -> None:
        """Compute and write the new values."""
        self._execute(None)
        # what autograd has saved of the parameters is out of date now
        torch.autograd.graph.increment_version(self.bucket.buffers["p"])

    def _execute(self, together: tuple[int, ...] | None) -> Sequence[float]:
        kernel = _kernel(self.bucket, together)
        program = kernel.program
        table = _table(self.bucket, program)
        addresses = [_addresses(self.bucket, name, table) for name in program.buffers]
        return kernel(table, addresses, [self._known[v.index] for v in program.scalars])


def prepare(bucket: Bucket) -> None:
    """Have everything compiled that the bucket's next step runs, before anything is written.

    Raises:
        CompilerError: it cannot be had.
    """
    graph = bucket.graph
    for depth in set(graph.depths):
        _kernel(bucket, tuple(i for i, d in enumerate(graph.depths) if d == depth))
    _kernel(bucket, None)


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


def _addresses(bucket: Bucket, name: str, table: Table) -> array[int]:
    """The address of each of a buffer's tensors, in the table's order; made anew where they have moved."""
    now = bucket.locate(name)
    key = f"{name} of {id(table)}"
    kept: tuple[list[int], array[int]] | None = bucket.tables.get(key)
    if kept is None or kept[0] is not now:
        kept = bucket.tables[key] = (now, array("Q", [now[i] for i in table.order]))
    return kept[1]


def obstacle(buffers: Mapping[str, Tensor], homes: Mapping[str, Home], real: torch.dtype) -> str | None:
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
