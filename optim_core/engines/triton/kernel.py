"""A program's kernels and the tables that they run over."""

from __future__ import annotations

import hashlib
import linecache
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import torch
from torch import Tensor

from optim_core.engines.lowering import Program
from optim_core.engines.triton.source import TILE, shared_first, source
from optim_core.rules.values import Level

#: Elements of a chunk, at least; and chunks of a tensor, at most.
CHUNK = 4 * TILE
MOST_CHUNKS = 1 << 16
#: Widths of the tiles that rows are worked on in: of one element, of a filter, of a small layer, of any.
_COLUMNS = (1, 16, 128, TILE)


class Kernel:
    """A program as Triton kernels.

    Args:
        program: what to compute.
        dtypes: the type of each buffer.
        real: the type to compute in.
    """

    def __init__(self, program: Program, dtypes: Mapping[str, torch.dtype], real: torch.dtype) -> None:
        self.program = program
        self.scalars = shared_first(program)
        self._functions = _module(source(program, dtypes, real, interpreted=interpreting()))

    def __call__(
        self, table: Table, addresses: Sequence[Addresses], scalars: Tensor, *, launch: bool = True
    ) -> list[Tensor]:
        """Run it.

        Args:
            table: the tensors' sizes, cut into chunks.
            addresses: those of the tensors of each of ``program.buffers``.
            scalars: the values of ``self.scalars``.
            launch: False to compile only.

        Returns:
            The program's totals, 0-d.
        """
        program, device = self.program, scalars.device
        partials = torch.empty(len(program.reductions), table.chunks, dtype=torch.float64, device=device)
        values = torch.empty(len(program.tensor_values), table.tensors, dtype=torch.float64, device=device)
        arguments = (*(a.on_device for a in addresses), *table.arrays, scalars, partials, values)
        common = (table.chunks, table.tensors, 16 if all(a.aligned for a in addresses) else 1)
        with _at(device):
            for k, stage in enumerate(program.stages):
                if k:
                    sweep = program.sweeps[k - 1]
                    for columns, first, count in table.portions if sweep.rows else [(1, 0, table.chunks)]:
                        grid = (count if launch else 0,)
                        self._functions[f"sweep{k - 1}"][grid](
                            *arguments, first, *common, TILE // columns, columns, enable_fp_fusion=False
                        )
                if stage or (program.outputs and k == len(program.sweeps)):
                    grid = (table.tensors if launch else 0,)
                    self._functions[f"stage{k}"][grid](*arguments, 0, *common, 1, 1, enable_fp_fusion=False)
        return [self._total(i, partials, values) for i in range(len(program.totals))]

    def _total(self, i: int, partials: Tensor, values: Tensor) -> Tensor:
        total = self.program.totals[i]
        operand = total.args[0]
        if operand.level is Level.TENSOR:
            places = [v.index for v in self.program.tensor_values]
            return values[places.index(operand.index)].sum()
        return partials[[r.index for r in self.program.reductions].index(total.index)].sum()


class Table:
    """How a list of tensors is cut into chunks, on their device.

    Args:
        sizes: elements of each tensor, none of them 0.
        widths: elements of a row of each tensor.
        device: where the tensors are.
        by_rows: whether chunks are to be made of whole rows.
    """

    def __init__(self, sizes: Sequence[int], widths: Sequence[int], device: torch.device, *, by_rows: bool) -> None:
        self.tensors = len(sizes)
        # what a chunk consists of: rows, or single elements
        units = widths if by_rows else [1] * len(sizes)
        columns = [_columns(unit) for unit in units]
        #: position in the table -> position in the list: tensors whose rows are about as wide stand together
        self.order = sorted(range(len(sizes)), key=columns.__getitem__)
        chunks: list[int] = []
        of_tensor = [0]
        starts_of: dict[int, int] = {}
        for t, i in enumerate(self.order):
            starts_of.setdefault(columns[i], of_tensor[-1])
            count = sizes[i] // units[i]
            most = max(1, _chunk(sizes[i]) // max(columns[i], units[i]))
            for start in range(0, count, most):
                chunks += (t, start, min(start + most, count))
            of_tensor.append(len(chunks) // 3)
        self.chunks = of_tensor[-1]
        ends = [*list(starts_of.values())[1:], self.chunks]
        #: width of tiles, first chunk, number of chunks
        self.portions = [(c, first, end - first) for (c, first), end in zip(starts_of.items(), ends, strict=True)]
        in_order = ([sizes[i] for i in self.order], [widths[i] for i in self.order])
        self.arrays = tuple(upload(numbers, torch.int64, device) for numbers in (chunks, of_tensor, *in_order))


class Addresses:
    """Where each of a buffer's tensors lies.

    Args:
        listed: the addresses, in the order of the parameters.
        table: knows the order in which kernels look them up.
        device: where the tensors are.
    """

    def __init__(self, listed: list[int], table: Table, device: torch.device) -> None:
        self.listed = listed
        #: whether threads may load 16 bytes at a time
        self.aligned = not any(address % 16 for address in listed)
        self.on_device = upload([listed[i] for i in table.order], torch.int64, device)


def _columns(width: int) -> int:
    return next((c for c in _COLUMNS if width <= c), TILE)


def _chunk(size: int) -> int:
    """Elements of a chunk for a tensor of this size."""
    return max(CHUNK, TILE * (1 + size // (TILE * MOST_CHUNKS)))


def upload(numbers: Sequence[float], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers on a device, on their way there by the time that a kernel needs them; nobody waits."""
    on_host = torch.tensor(numbers, dtype=dtype, pin_memory=device.type == "cuda")
    return on_host.to(device, non_blocking=True)


@cache
def interpreting() -> bool:
    """Whether Triton was imported as an interpreter (TRITON_INTERPRET), which runs kernels on a CPU."""
    import triton

    return not isinstance(triton.language.zeros, triton.JITFunction)


def _at(device: torch.device) -> AbstractContextManager[Any]:
    """Kernels start on the current device."""
    if not interpreting():
        return torch.cuda.device(device)
    from optim_core.engines.triton import interpreted

    return interpreted.quiet()


@cache
def _module(text: str) -> Mapping[str, Any]:
    """What a text defines. Triton wants to read it again: Python's cache of source lines has it under a name."""
    name = f"<optim_core {hashlib.sha256(text.encode()).hexdigest()[:16]}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    defined: dict[str, Any] = {"__name__": name}
    exec(compile(text, name, "exec"), defined)  # noqa: S102 - our own text
    return defined
