"""A compiled program and the tables that it runs over."""

from __future__ import annotations

import ctypes
import itertools
import struct
from array import array
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from optim_core.engines.host import function
from optim_core.engines.layout import cut, run_of_row, sizes_and_widths
from optim_core.engines.lowering import Program
from optim_core.engines.native.compiler import load
from optim_core.engines.native.source import source

#: Elements of a chunk: few enough to share a tensor out evenly, enough for the processor to read ahead.
CHUNK = 1 << 16
#: Elements of the small tensors of a task: a thread that takes one should have more to do than to take the next.
SPAN = 1 << 14
#: Elements of the large tensors of a batch, which goes through all sweeps before the next one: with gradients and
#: states it fits into the cache that cores share.
BATCH = 1 << 21

_POINTER = ctypes.c_void_p
_COUNT = ctypes.c_int64


class _Call(ctypes.Structure):
    """`call_t` of driver.c."""

    _fields_ = [
        ("chunks", _POINTER),
        ("tasks", _POINTER),
        ("of_tensor", _POINTER),
        ("sizes", _POINTER),
        ("widths", _POINTER),
        ("runs", _POINTER),
        ("batches", _POINTER),
        ("tensors", _COUNT),
        ("small", _COUNT),
        ("tasks_large", _COUNT),
        ("tasks_all", _COUNT),
        ("n_batches", _COUNT),
        ("buffers", _POINTER),
        ("scalars", _POINTER),
        ("partials", _POINTER),
        ("values", _POINTER),
        ("totals", _POINTER),
        ("parallel", _POINTER),
        ("threads", _COUNT),
    ]


class Kernel:
    """A program as machine code.

    Args:
        program: what to compute.
        dtypes: the type of each buffer.
        compute_dtype: the type to compute in.

    Raises:
        CompilerError: it cannot be compiled.
    """

    def __init__(self, program: Program, dtypes: Mapping[str, torch.dtype], compute_dtype: torch.dtype) -> None:
        self.program = program
        #: computes the values of ``program.scalars``
        self.scalars = function(program.scalars)
        self.run = load(source(program, dtypes, compute_dtype)).run
        self.run.argtypes = (_POINTER,)
        self.run.restype = None


class Pass:
    """A kernel on a table, with all that stays the same from call to call.

    Args:
        kernel: what to run.
        table: the tensors' sizes, cut into chunks.
    """

    def __init__(self, kernel: Kernel, table: Table) -> None:
        program = kernel.program
        self.kernel = kernel
        #: the names of the buffers that the kernel takes
        self.buffers = tuple(program.buffers)
        self._table = table
        self._run = kernel.run
        self._addresses: list[list[int] | None] = [None] * len(self.buffers)
        self._ordered: list[array[int]] = [array("Q")] * len(self.buffers)
        self._pointers = array("Q", bytes(8 * len(self.buffers)))
        self._scalars = array("d", bytes(8 * len(program.scalars)))
        self._write = struct.Struct(f"{len(program.scalars)}d").pack_into
        self._totals = array("d", bytes(8 * len(program.totals)))
        self._partials = array("d", bytes(8 * len(program.reductions) * table.chunks))
        self._values = array("d", bytes(8 * len(program.tensor_values) * table.tensors))
        self._call = table.call(
            buffers=_address(self._pointers),
            scalars=_address(self._scalars),
            partials=_address(self._partials),
            values=_address(self._values),
            totals=_address(self._totals),
            parallel=_parallel(),
        )
        self._call_address = ctypes.addressof(self._call)
        self._most_threads = 1 + table.elements // SPAN

    def __call__(self, addresses: Sequence[list[int]], scalars: Sequence[float]) -> Sequence[float]:
        """Run it.

        Args:
            addresses: for each of :attr:`buffers` where each tensor lies; the same list must hold the same addresses.
            scalars: the values of the program's scalars.

        Returns:
            The program's totals.
        """
        for k, listed in enumerate(addresses):
            if listed is not self._addresses[k]:
                self._addresses[k] = listed
                self._ordered[k] = self._table.ordered(self.buffers[k], listed)
                self._pointers[k] = _address(self._ordered[k])
        self._write(self._scalars, 0, *scalars)
        self._call.threads = min(torch.get_num_threads(), self._most_threads)
        self._run(self._call_address)
        return self._totals.tolist()


class Table:
    """A list of tensors, cut into chunks, tasks and batches; `driver.c` explains these.

    Args:
        params: the tensors, none of them empty.
        by_rows: whether chunks are made of whole rows.
    """

    def __init__(self, params: Sequence[Tensor], *, by_rows: bool) -> None:
        sizes, widths = sizes_and_widths(params)
        # what a chunk consists of: rows, or single elements
        units = widths if by_rows else [1] * len(sizes)
        counts = [size // unit for size, unit in zip(sizes, units, strict=True)]
        limits = [max(1, CHUNK // unit) for unit in units]
        is_small = [n <= limit for n, limit in zip(counts, limits, strict=True)]
        #: position in the table -> position in the list: large tensors, which have several chunks, come first
        self.order = sorted(range(len(sizes)), key=is_small.__getitem__)
        self.tensors = len(sizes)
        self.elements = sum(sizes)
        self._large = self.tensors - sum(is_small)
        sizes, widths, counts, limits = ([x[i] for i in self.order] for x in (sizes, widths, counts, limits))
        chunks, of_tensor = cut(counts, limits)
        self.chunks = of_tensor[-1]
        self._large_chunks = of_tensor[self._large]
        tasks = [(k, k + 1) for k in range(self._large_chunks)]
        tasks += _small_tasks(sizes[self._large :], self._large_chunks)
        self._arrays = {
            "chunks": array("q", itertools.chain.from_iterable(chunks)),
            "tasks": array("q", itertools.chain.from_iterable(tasks)),
            "of_tensor": array("q", of_tensor),
            "sizes": array("q", sizes),
            "widths": array("q", widths),
            "runs": array("q", (run_of_row(params[i]) for i in self.order)),
            "batches": array("q", _batches(sizes[: self._large])),
        }
        self._ordered: dict[str, tuple[list[int], array[int]]] = {}

    def call(self, **fields: int | None) -> _Call:
        """The table's part of a call, and the rest by name."""
        return _Call(
            tensors=self.tensors,
            small=self.tensors - self._large,
            tasks_large=self._large_chunks,
            tasks_all=len(self._arrays["tasks"]) // 2,
            n_batches=len(self._arrays["batches"]) - 1,
            **{name: _address(numbers) for name, numbers in self._arrays.items()},
            **fields,
        )

    def ordered(self, name: str, addresses: list[int]) -> array[int]:
        """A buffer's addresses in the table's order; computed again if the list is another one."""
        last = self._ordered.get(name)
        if last is None or last[0] is not addresses:
            last = self._ordered[name] = (addresses, array("Q", map(addresses.__getitem__, self.order)))
        return last[1]


def _small_tasks(sizes: Sequence[int], first: int) -> list[tuple[int, int]]:
    """Tasks of small tensors, as the first chunk of each and the one after its last.

    Args:
        sizes: elements of each small tensor; each is one chunk.
        first: the first tensor's chunk.

    Example:
        >>> _small_tasks([SPAN - 10, 10, 1, SPAN], first=7)
        [(7, 9), (9, 10), (10, 11)]
    """
    tasks: list[tuple[int, int]] = []
    spare = 0
    for chunk, size in enumerate(sizes, first):
        if spare < size:
            tasks.append((chunk, chunk))
            spare = SPAN
        tasks[-1] = (tasks[-1][0], chunk + 1)
        spare -= size
    return tasks


def _batches(sizes: Sequence[int]) -> list[int]:
    """The first large tensor of each batch, and one more.

    Example:
        >>> _batches([BATCH - 1, 1, BATCH, 5])
        [0, 2, 3, 4]
    """
    starts, filled = [0], 0
    for t, size in enumerate(sizes, 1):
        filled += size
        if filled >= BATCH or t == len(sizes):
            starts.append(t)
            filled = 0
    return starts


def _address(numbers: array[Any]) -> int:
    return numbers.buffer_info()[0]


@cache
def _parallel() -> int | None:
    """The address of the function that starts a team of threads in torch's OpenMP runtime; None if it has none.

    The runtime must be torch's own: two of them in one process fight over the cores.
    """
    for path in _openmp_runtimes():
        try:
            return ctypes.cast(ctypes.CDLL(path).GOMP_parallel, _POINTER).value
        except (OSError, AttributeError):
            continue
    return None


def _openmp_runtimes() -> list[str]:
    """Paths of the OpenMP runtime that torch uses: the one in its own folder, else those in this process."""
    own = [str(path) for path in (Path(torch.__file__).parent / "lib").iterdir() if path.name.startswith(_RUNTIMES)]
    if own:
        return own
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [path for path in {line.split(maxsplit=5)[-1] for line in maps} if Path(path).name.startswith(_RUNTIMES)]


_RUNTIMES = ("libgomp", "libomp", "libiomp")
