"""Optimizers whose steps depend on the gradient's sign."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optim_core.catalog import exports

if TYPE_CHECKING:
    from optim_core_sign.clion import CLion
    from optim_core_sign.focus import FOCUS
    from optim_core_sign.lion import Lion
    from optim_core_sign.msvag import MSVAG
    from optim_core_sign.signsgd import SignSGD
    from optim_core_sign.tiger import Tiger

__all__ = [
    "FOCUS",
    "MSVAG",
    "CLion",
    "Lion",
    "SignSGD",
    "Tiger",
]

__getattr__, __dir__ = exports(__name__)
