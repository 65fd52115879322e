"""Wrappers for several losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optim_core.exports import exports

if TYPE_CHECKING:
    from optim_core_multitask.pcgrad import PCGrad

__all__ = [
    "PCGrad",
]

__getattr__, __dir__ = exports(__name__)
