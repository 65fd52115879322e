"""The environment of a comparison: what a reader needs to judge its times and to repeat it."""

from __future__ import annotations

import os
import platform
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch

from optim_core.text import counted


def environment(device: str, threads: int) -> dict[str, Any]:
    """Versions and kind of machine, without anything that identifies the machine or its user."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "optim_core": _version(),
        "packs": _packs(),
        "device": _device(device),
        "threads": threads,
        "platform": f"{platform.system()} {platform.machine()}",
        "machine": machine(),
        "implementation": sys.implementation.name,
    }


def machine() -> str:
    """The kind of machine on which times are taken, and the threads of torch; nothing that identifies it."""
    parts = [platform.machine(), _processor(), f"{os.cpu_count()} cores", counted(torch.get_num_threads(), "thread")]
    return ", ".join(dict.fromkeys(filter(None, parts)))


@cache
def _processor() -> str:
    """The model of the processor, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _device(device: str) -> str:
    if torch.device(device).type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return device


def _version() -> str:
    import optim_core

    return str(optim_core.__version__)


def _packs() -> dict[str, str]:
    from optim_core.catalog.registry import registry

    return {pack.name: pack.version for pack in registry().packs}
