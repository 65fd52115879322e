"""The tensors that the native engine takes, and a bucket's way through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from optim_core.engines import layout
from optim_core.engines.bucket import Bucket
from optim_core.engines.host import function
from optim_core.engines.native.kernel import Kernel, Pass, Table
from optim_core.engines.native.source import DTYPES
from optim_core.engines.prepared import kernel_of, once
from optim_core.rules.graph import Access
from optim_core.rules.values import Value


class NativeRun:
    """One bucket in one step.

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

    def sums(self, pass_totals: tuple[int, ...]) -> Sequence[float]:
        """This bucket's part of each total of a pass."""
        return self._execute(pass_totals)

    def set_totals(self, pass_totals: tuple[int, ...], totals: Sequence[Tensor | float]) -> None:
        """Take the totals of a pass, summed over all buckets."""
        self._totals.update(zip(pass_totals, map(float, totals), strict=True))

    def value(self, shared: Value) -> float:
        """A value that all parameters share; all totals must be set."""
        compute = once(self.bucket.graph.plans, function, shared.index, lambda: function([shared]))
        return compute(self.bucket.host, self._whole, self._totals)[0]

    def update(self) -> None:
        """Compute and write the new values."""
        self._execute(None)
        # what autograd has saved of the parameters is out of date now
        torch.autograd.graph.increment_version(self.bucket.buffers["p"])

    def _execute(self, pass_totals: tuple[int, ...] | None) -> Sequence[float]:
        bucket = self.bucket
        execute = once(bucket.tables, Pass, pass_totals, lambda: _pass(bucket, pass_totals))
        addresses = list(map(bucket.locate, execute.buffers))
        return execute(addresses, execute.kernel.scalars(bucket.host, self._whole, self._totals))


def _pass(bucket: Bucket, pass_totals: tuple[int, ...] | None) -> Pass:
    kernel = kernel_of(bucket, Kernel, pass_totals)
    by_rows = kernel.program.by_rows
    return Pass(kernel, once(bucket.tables, Table, by_rows, lambda: Table(bucket.buffers["p"], by_rows=by_rows)))


def prepare(bucket: Bucket) -> None:
    """Compile everything that the bucket's next step runs, before anything is written.

    Raises:
        CompilerError: it cannot be compiled.
    """
    for pass_totals in (*bucket.graph.passes, None):
        kernel_of(bucket, Kernel, pass_totals)


def obstacle(buffers: Mapping[str, Tensor], access: Access, compute_dtype: torch.dtype) -> str | None:
    """The reason why the engine cannot update a parameter, or None if it can.

    Args:
        buffers: the parameter's tensors, by buffer name.
        access: how they are gone over.
        compute_dtype: the type to compute in.
    """
    access = access._replace(by_rows=False)  # it finds the elements of a row wherever they lie
    return layout.obstacle(buffers, access, compute_dtype, DTYPES, device="cpu")
