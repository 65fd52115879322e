"""What a reader needs to judge the times and to repeat them; nothing that names the machine or its user."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path

import torch


def environment() -> dict[str, str]:
    """Machine and versions, by what they are."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "system": f"{platform.system()} {platform.machine()}",
        "compiler": _compiler(),
        # of others, before anything is measured: on a busy machine times are what is left over
        "load": f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "optim-core": _version("optim-core"),
        "pytorch_optimizer": _version("pytorch_optimizer"),
    }


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or "unknown"
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    vectors = [name for name in ("avx512f", "avx2") if re.search(rf"\b{name}\b", text)]
    return " ".join([found[1] if found else "unknown", *(f"({v})" for v in vectors[:1])])


def _compiler() -> str:
    try:
        command = [os.environ.get("CC", "cc"), "--version"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return "none"
    return done.stdout.splitlines()[0]


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
