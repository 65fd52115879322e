"""The eager engine: a graph run with torch operations; always available, and the reference for the others.

The parameters of a bucket are cut into pieces of bounded size, and each piece goes through the whole graph
before the next one starts, so that temporaries stay small (and, on a CPU, in its caches). A piece is one tensor
or a slice of one, run with plain torch operations, or a list of tensors, run with ``torch._foreach_*``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from optim_core.engines.bucket import Bucket
from optim_core.engines.eager.inplace import Schedule, schedule
from optim_core.engines.operations import on_list, on_tensor
from optim_core.engines.prepared import once
from optim_core.engines.sharded import full_tensor
from optim_core.engines.shared import Environment, SharedRun
from optim_core.engines.tensors import total_dtype
from optim_core.rules.graph import Graph, is_local
from optim_core.rules.values import Value

#: Bytes of parameters that go through the graph together: 1 MiB, which one core's cache holds beside the states and
#: temporaries; elsewhere 256 MiB, which fill a GPU.
PIECE_BYTES = {"cpu": 1 << 20, "other": 1 << 28}


class _Plan:
    """The schedules of a graph: one for each pass that sums, one that writes."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._sums: dict[tuple[int, ...], Schedule] = {}

    @classmethod
    def of(cls, graph: Graph) -> _Plan:
        return once(graph.plans, cls, None, lambda: cls(graph))

    def sums(self, pass_totals: tuple[int, ...]) -> Schedule:
        """The schedule of what some totals sum up."""
        if pass_totals not in self._sums:
            totals = self.graph.trace.totals
            self._sums[pass_totals] = schedule({f"total {i}": totals[i].args[0] for i in pass_totals})
        return self._sums[pass_totals]

    @cached_property
    def update(self) -> Schedule:
        return schedule(self.graph.outputs)


class EagerRun(SharedRun):
    """One bucket in one step.

    Args:
        bucket: what to update.
        whole: states on level WHOLE by name, 0-d tensors.
    """

    def __init__(self, bucket: Bucket, whole: Mapping[str, Tensor]) -> None:
        super().__init__(bucket, whole)
        self.plan = _Plan.of(bucket.graph)

    def sums(self, pass_totals: tuple[int, ...]) -> Sequence[Tensor | float]:
        """This bucket's part of each total of a pass, 0-d tensors."""
        plan = self.plan.sums(pass_totals)
        dtype = total_dtype(self.bucket.device)
        parts: list[list[Tensor]] = [[] for _ in plan.roots]
        for piece in self._pieces():
            for part, x in zip(parts, piece.execute(plan, self.environment), strict=True):
                part.extend(t.sum(dtype=dtype) for t in (x if isinstance(x, list) else [x]))
        return [full_tensor(torch.stack(part).sum()) for part in parts]

    def update(self) -> None:
        """Compute and write the new values."""
        plan = self.plan.update
        for piece in self._pieces():
            results = dict(zip(plan.roots, piece.execute(plan, self.environment), strict=True))
            for name in plan.displaced:
                x = results[name]
                results[name] = [t.clone() for t in x] if isinstance(x, list) else x.clone()
            for name, x in results.items():
                piece.write(name, x)

    def _pieces(self) -> Iterator[_Piece]:
        graph, buffers, dtype = self.bucket.graph, self.bucket.buffers, self.bucket.dtype
        names = list({"p": None, **graph.buffers})
        # out= is not for what autograd watches
        columns = [[t.detach() if t.requires_grad else t for t in buffers[n]] for n in names]
        rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        device = self.bucket.device.type
        limit = PIECE_BYTES.get(device, PIECE_BYTES["other"])
        if graph.sliceable:
            rows = [part for row in rows for part in _slices(row, limit)]
        if self.bucket.foreach is False:
            yield from (_Piece(row, dtype) for row in rows)
            return
        group: list[dict[str, Tensor]] = []
        size = 0
        for row in rows:
            row_bytes = row["p"].numel() * row["p"].element_size()
            if group and size + row_bytes > limit:
                yield self._piece(group)
                group, size = [], 0
            group.append(row)
            size += row_bytes
        if group:
            yield self._piece(group)

    def _piece(self, group: Sequence[dict[str, Tensor]]) -> _Piece:
        if len(group) == 1 and not self.bucket.foreach:
            return _Piece(group[0], self.bucket.dtype)
        return _Piece({n: [row[n] for row in group] for n in group[0]}, self.bucket.dtype)


class _Piece:
    """Some of a bucket's memory: for each buffer one tensor, or a list with one for each parameter."""

    def __init__(self, buffers: dict[str, Any], dtype: torch.dtype) -> None:
        self.buffers = buffers
        self.dtype = dtype
        self.apply = on_list if isinstance(buffers["p"], list) else on_tensor

    def execute(self, plan: Schedule, environment: Environment) -> list[Any]:
        """The values of the plan's roots; memory of buffers is written over as far as the plan allows."""
        values: dict[int, Any] = {}

        def read(v: Value) -> Any:
            if not is_local(v):
                x = environment[v.index]
                return x.to(self.dtype) if isinstance(x, Tensor) else x
            if v.index not in values:
                values[v.index] = self._load(v.name)
            return values[v.index]

        for step in plan.code:
            result = self.apply(step.value, [read(a) for a in step.value.args], step.over, self.dtype)
            for index in step.dead:
                del values[index]
            values[step.value.index] = result
        return [read(v) for v in plan.roots.values()]

    def _load(self, name: str) -> Any:
        x = self.buffers[name]
        return [t.to(self.dtype) for t in x] if isinstance(x, list) else x.to(self.dtype)

    def write(self, name: str, new: Any) -> None:
        """Bring a result to its buffer, unless it was computed there."""
        buffer = self.buffers[name]
        targets = buffer if isinstance(buffer, list) else [buffer]
        sources = new if isinstance(new, list) else [new] * len(targets)
        for target, source in zip(targets, sources, strict=True):
            if target is not source:
                target.copy_(source) if isinstance(source, Tensor) else target.fill_(source)


def _slices(row: dict[str, Tensor], limit: int) -> Iterator[dict[str, Tensor]]:
    p = row["p"]
    size = max(1, limit // p.element_size())
    # whatever order the dimensions have in memory, channels last for one, if it is the same for all
    order = sorted(range(p.ndim), key=p.stride, reverse=True)
    laid_out = {n: t.permute(order) if t.ndim == p.ndim else t for n, t in row.items()}
    if p.numel() <= size or not all(t.is_contiguous() for t in laid_out.values()):
        yield row
        return
    flat = {n: t.view(-1) for n, t in laid_out.items()}
    for start in range(0, p.numel(), size):
        yield {n: t[start : start + size] for n, t in flat.items()}
