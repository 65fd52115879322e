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

from optim_core.engines.host import function
from optim_core.engines.lowering import Program
from optim_core.engines.native.compiler import load
from optim_core.engines.native.source import source

#: Elements of a chunk: few enough to share a tensor out evenly, enough for the processor to read ahead.
CHUNK = 1 << 16
#: Elements of the small tensors that go to a thread together.
SPAN = 1 << 14
#: Elements of the large tensors that go through all sweeps before the next ones: they fit into the shared cache.
BATCH = 1 << 21

_P = ctypes.c_void_p
_N = ctypes.c_int64


class _Call(ctypes.Structure):
    """`call_t` of driver.c."""

    _fields_ = [
        ("chunks", _P),
        ("tasks", _P),
        ("of_tensor", _P),
        ("sizes", _P),
        ("widths", _P),
        ("batches", _P),
        ("tensors", _N),
        ("small", _N),
        ("tasks_large", _N),
        ("tasks_all", _N),
        ("n_batches", _N),
        ("buffers", _P),
        ("scalars", _P),
        ("partials", _P),
        ("values", _P),
        ("totals", _P),
        ("parallel", _P),
        ("threads", _N),
    ]


class Kernel:
    """A program as machine code.

    Args:
        program: what to compute.
        dtypes: the type of each buffer.
        real: the type to compute in.

    Raises:
        CompilerError: it cannot be had.
    """

    def __init__(self, program: Program, dtypes: Mapping[str, torch.dtype], real: torch.dtype) -> None:
        self.program = program
        #: computes the values of ``program.scalars``
        self.scalars = function(program.scalars)
        self.run = load(source(program, dtypes, real)).run
        self.run.argtypes = (_P,)
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
        self._listed: list[list[int] | None] = [None] * len(self.buffers)
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
        self._most = 1 + table.elements // SPAN

    def __call__(self, addresses: Sequence[list[int]], scalars: Sequence[float]) -> Sequence[float]:
        """Run it.

        Args:
            addresses: for each of :attr:`buffers` where each tensor lies; a list given again is taken for unchanged.
            scalars: the values of the program's scalars.

        Returns:
            The program's totals.
        """
        for k, listed in enumerate(addresses):
            if listed is not self._listed[k]:
                self._listed[k] = listed
                self._ordered[k] = self._table.ordered(self.buffers[k], listed)
                self._pointers[k] = _address(self._ordered[k])
        self._write(self._scalars, 0, *scalars)
        self._call.threads = min(torch.get_num_threads(), self._most)
        self._run(self._call_address)
        return self._totals.tolist()


class Table:
    """How a list of tensors is cut into chunks and tasks.

    Args:
        sizes: elements of each tensor, none of them 0.
        widths: elements of a row of each tensor.
        by_rows: whether chunks are to be made of whole rows.
    """

    def __init__(self, sizes: Sequence[int], widths: Sequence[int], *, by_rows: bool) -> None:
        self.tensors = len(sizes)
        self.elements = sum(sizes)
        per_row = widths if by_rows else [1] * len(sizes)
        # in units of rows: how many there are, and how many go into a chunk
        units = [size // width for size, width in zip(sizes, per_row, strict=True)]
        most = [max(1, CHUNK // width) for width in per_row]
        #: position in the table -> position in the list: large tensors, which have several chunks, come first
        self.order = sorted(range(len(sizes)), key=lambda i: units[i] <= most[i])
        large = sum(u > m for u, m in zip(units, most, strict=True))
        chunks: list[int] = []
        of_tensor, tasks = [0], []
        batches, filled = [0], 0
        room = 0
        for t, i in enumerate(self.order):
            starts = range(0, units[i], most[i])
            first = of_tensor[-1]
            of_tensor.append(first + len(starts))
            for start in starts:
                chunks += (t, start, min(start + most[i], units[i]))
            if t < large:
                tasks += [(k, k + 1) for k in range(first, of_tensor[-1])]
                filled += sizes[i]
                if filled >= BATCH or t == large - 1:
                    batches.append(t + 1)
                    filled = 0
            else:
                if room < sizes[i]:
                    tasks.append((first, first))
                    room = SPAN
                tasks[-1] = (tasks[-1][0], first + 1)
                room -= sizes[i]
        self.chunks = of_tensor[-1]
        self._arrays = {
            "chunks": array("q", chunks),
            "tasks": array("q", itertools.chain.from_iterable(tasks)),
            "of_tensor": array("q", of_tensor),
            "sizes": array("q", [sizes[i] for i in self.order]),
            "widths": array("q", [widths[i] for i in self.order]),
            "batches": array("q", batches),
        }
        self._large = large
        self._ordered: dict[str, tuple[list[int], array[int]]] = {}

    def call(self, **fields: int | None) -> _Call:
        """The table's part of a call, and the rest by name."""
        return _Call(
            tensors=self.tensors,
            small=self.tensors - self._large,
            tasks_large=self._arrays["of_tensor"][self._large],
            tasks_all=len(self._arrays["tasks"]) // 2,
            n_batches=len(self._arrays["batches"]) - 1,
            **{name: _address(numbers) for name, numbers in self._arrays.items()},
            **fields,
        )

    def ordered(self, name: str, addresses: list[int]) -> array[int]:
        """A buffer's addresses in the table's order; made anew where the list is another one."""
        kept = self._ordered.get(name)
        if kept is None or kept[0] is not addresses:
            kept = self._ordered[name] = (addresses, array("Q", map(addresses.__getitem__, self.order)))
        return kept[1]


def _address(numbers: array[Any]) -> int:
    return numbers.buffer_info()[0]


@cache
def _parallel() -> int | None:
    """Where the OpenMP runtime that torch has loaded starts a team; None if it offers no such entry.

    The runtime must be torch's own: two of them in one process fight over the cores.
    """
    for path in _openmp_runtimes():
        try:
            return ctypes.cast(ctypes.CDLL(path).GOMP_parallel, _P).value
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
