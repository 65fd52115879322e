"""The environment of a comparison: what a reader needs to judge its times and to repeat it."""

from __future__ import annotations

import platform
import sys
from typing import Any

import torch


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
        "implementation": sys.implementation.name,
    }


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
