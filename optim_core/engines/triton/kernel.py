"""A program's kernels and the tables that they run over."""

from __future__ import annotations

import hashlib
import itertools
import linecache
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import torch
from torch import Tensor

from optim_core.engines.layout import cut, sizes_and_widths
from optim_core.engines.lowering import Program
from optim_core.engines.triton.source import TILE, scalars_in_order, source
from optim_core.rules.values import Level

#: Elements of a chunk, at least: enough tiles to make up for looking in the tables.
CHUNK = 4 * TILE
#: Chunks of a tensor, at most: the sums of its chunks are added up by one program.
MOST_CHUNKS = 1 << 16
#: Widths of the tiles that rows are worked on in: of one element, of a filter, of a small layer, of any.
_COLUMNS = (1, 16, 128, TILE)


class Kernel:
    """A program as Triton kernels.

    Args:
        program: what to compute.
        dtypes: the type of each buffer.
        compute_dtype: the type to compute in.
    """

    def __init__(self, program: Program, dtypes: Mapping[str, torch.dtype], compute_dtype: torch.dtype) -> None:
        self.program = program
        #: the program's scalars, in the order in which its kernels look for them
        self.scalars = scalars_in_order(program)
        self._functions = module(source(program, dtypes, compute_dtype, interpreted=interpreting()))

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

        def run(name: str, first: int, count: int, rows: int, columns: int) -> None:
            grid = (count if launch else 0,)
            self._functions[name][grid](*arguments, first, *common, rows, columns, enable_fp_fusion=False)

        with _at(device):
            for k, stage in enumerate(program.stages):
                if k:
                    by_rows = bool(program.sweeps[k - 1].rows)
                    for columns, first, count in table.portions if by_rows else [(1, 0, table.chunks)]:
                        run(f"sweep{k - 1}", first, count, TILE // columns, columns)
                if stage or program.stage_outputs(k):
                    run(f"stage{k}", 0, table.tensors, 1, 1)
        return [self._total(i, partials, values) for i in range(len(program.totals))]

    def _total(self, i: int, partials: Tensor, values: Tensor) -> Tensor:
        total = self.program.totals[i]
        operand = total.args[0]
        if operand.level is Level.TENSOR:
            places = [v.index for v in self.program.tensor_values]
            return values[places.index(operand.index)].sum()
        return partials[[r.index for r in self.program.reductions].index(total.index)].sum()


class Table:
    """A list of tensors, cut into chunks; on their device.

    Args:
        params: the tensors, none of them empty.
        by_rows: whether chunks are made of whole rows.
    """

    def __init__(self, params: Sequence[Tensor], *, by_rows: bool) -> None:
        sizes, widths = sizes_and_widths(params)
        self.by_rows = by_rows
        self.tensors = len(sizes)
        # what a chunk consists of: rows, or single elements
        units = widths if by_rows else [1] * len(sizes)
        columns = [_columns(unit) for unit in units]
        #: position in the table -> position in the list: tensors whose rows are about as wide stand together
        self.order = sorted(range(len(sizes)), key=columns.__getitem__)
        sizes, widths, units, columns = ([x[i] for i in self.order] for x in (sizes, widths, units, columns))
        counts = [size // unit for size, unit in zip(sizes, units, strict=True)]
        limits = [max(1, _chunk(size) // max(w, unit)) for size, w, unit in zip(sizes, columns, units, strict=True)]
        chunks, of_tensor = cut(counts, limits)
        self.chunks = of_tensor[-1]
        bounds = ((w, of_tensor[bisect_left(columns, w)], of_tensor[bisect_right(columns, w)]) for w in set(columns))
        #: width of tiles, first chunk, number of chunks
        self.portions = [(width, first, end - first) for width, first, end in sorted(bounds)]
        flat = list(itertools.chain.from_iterable(chunks))
        self.arrays = tuple(upload(x, torch.int64, params[0].device) for x in (flat, of_tensor, sizes, widths))


class Addresses:
    """The addresses of a buffer's tensors, on the device.

    Args:
        on_host: the addresses, in the order of the parameters.
        table: knows the order in which kernels look them up.
        device: the device of the tensors.
    """

    def __init__(self, on_host: list[int], table: Table, device: torch.device) -> None:
        self.on_host = on_host
        #: whether threads may load 16 bytes at a time
        self.aligned = not any(address % 16 for address in on_host)
        self.on_device = upload([on_host[i] for i in table.order], torch.int64, device)


def _columns(width: int) -> int:
    return next((c for c in _COLUMNS if width <= c), TILE)


def _chunk(size: int) -> int:
    """Elements of a chunk for a tensor of this size."""
    return max(CHUNK, TILE * (1 + size // (TILE * MOST_CHUNKS)))


def upload(numbers: Sequence[float], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers on a device; they are on their way when this returns, and there before a kernel reads them."""
    on_host = torch.tensor(numbers, dtype=dtype, pin_memory=device.type == "cuda")
    return on_host.to(device, non_blocking=True)


@cache
def interpreting() -> bool:
    """True if Triton was imported as an interpreter (TRITON_INTERPRET), which runs kernels on a CPU."""
    import triton

    return not isinstance(triton.language.zeros, triton.JITFunction)


def _at(device: torch.device) -> AbstractContextManager[Any]:
    """A context in which kernels start on a device."""
    if not interpreting():
        return torch.cuda.device(device)
    from optim_core.engines.triton import interpreted

    return interpreted.quiet()


@cache
def module(text: str) -> Mapping[str, Any]:
    """The functions of a module's text. Triton reads it again, and finds it in Python's cache of source lines."""
    name = f"<optim_core {hashlib.sha256(text.encode()).hexdigest()[:16]}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    defined: dict[str, Any] = {"__name__": name}
    exec(compile(text, name, "exec"), defined)  # noqa: S102 - our own text
    return defined
