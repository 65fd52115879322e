"""Wrappers for several losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optim_core.catalog import exports

if TYPE_CHECKING:
    from optim_core_multitask.pcgrad import PCGrad
    from optim_core_multitask.rotate_only import RotateOnly
    from optim_core_multitask.rotograd import RotoGrad
    from optim_core_multitask.rotograd_norm import RotoGradNorm

__all__ = [
    "PCGrad",
    "RotateOnly",
    "RotoGrad",
    "RotoGradNorm",
]

__getattr__, __dir__ = exports(__name__)
