"""The most memory that a step needs beside parameters, gradients and states.

Measured as the growth of the process's resident memory: the kernel keeps its high-water mark (VmHWM) and resets it
on request, so nothing between two samples is missed, and it sees whatever allocates: torch, numpy, C code, BLAS.
torch's profiler counts the bytes of torch's own allocator exactly, but is blind to a C kernel's; tracemalloc sees
Python's only. What free() keeps for later would hide a temporary, so the heap is trimmed first. Both give the same
within a few per cent where torch allocates: foreach AdamW on the big shapes 66.9 MB here, 67.2 MB by the profiler.
The grain is a page, and about 0.1 MB in practice.
"""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Callable
from pathlib import Path

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


def extra_memory(step: Callable[[], object]) -> int | None:
    """Peak of additional resident bytes during one call; None where the kernel does not tell (not on Linux).

    Example:
        >>> grown = extra_memory(lambda: b"x" * (1 << 26))
        >>> grown is None or 6e7 < grown < 8e7
        True
    """
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        _RESET.write_text("5", encoding="ascii")  # 5: reset the high-water mark, see proc(5)
    except (OSError, AttributeError, TypeError):
        return None
    before = _status("VmRSS")
    step()
    return max(0, _status("VmHWM") - before)


def _status(key: str) -> int:
    found = re.search(rf"^{key}:\s+(\d+) kB$", _STATUS.read_text(encoding="ascii"), re.MULTILINE)
    if found is None:
        raise OSError(f"{_STATUS} has no {key}")
    return int(found[1]) * 1024


def available_memory() -> int:
    """Bytes available without swapping; 8 GiB where the kernel does not tell."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return 8 << 30
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 8 << 30
