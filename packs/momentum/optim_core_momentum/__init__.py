"""Stochastic gradient descent and its momenta."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optim_core.exports import exports

if TYPE_CHECKING:
    from optim_core_momentum.accsgd import AccSGD
    from optim_core_momentum.aggmo import AggMo
    from optim_core_momentum.pnm import PNM
    from optim_core_momentum.qhm import QHM
    from optim_core_momentum.sgd import SGD
    from optim_core_momentum.sgdw import SGDW

__all__ = [
    "PNM",
    "QHM",
    "SGD",
    "SGDW",
    "AccSGD",
    "AggMo",
]

__getattr__, __dir__ = exports(__name__)
