"""Wrappers that look for flat minima."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optim_core.catalog import exports

if TYPE_CHECKING:
    from optim_core_sharpness.asam import ASAM
    from optim_core_sharpness.bsam import BSAM
    from optim_core_sharpness.friendlysam import FriendlySAM
    from optim_core_sharpness.gsam import GSAM
    from optim_core_sharpness.looksam import LookSAM
    from optim_core_sharpness.sam import SAM
    from optim_core_sharpness.wsam import WSAM

__all__ = [
    "ASAM",
    "BSAM",
    "GSAM",
    "SAM",
    "WSAM",
    "FriendlySAM",
    "LookSAM",
]

__getattr__, __dir__ = exports(__name__)
