"""Optimizers whose authors allow non-commercial use only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optim_core.catalog import exports

if TYPE_CHECKING:
    from optim_core_noncommercial.apollozhu import APOLLOZhu
    from optim_core_noncommercial.fromage import Fromage
    from optim_core_noncommercial.nero import Nero

__all__ = [
    "APOLLOZhu",
    "Fromage",
    "Nero",
]

__getattr__, __dir__ = exports(__name__)
