"""Stochastic gradient descent and its momenta."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optim_core.catalog import exports

if TYPE_CHECKING:
    from optim_core_momentum.accsgd import AccSGD
    from optim_core_momentum.aggmo import AggMo
    from optim_core_momentum.alig import AliG
    from optim_core_momentum.asgd import ASGD
    from optim_core_momentum.averagedsgd import AveragedSGD
    from optim_core_momentum.csgdw import CSGDW
    from optim_core_momentum.emofact import EmoFact
    from optim_core_momentum.emolynx import EmoLynx
    from optim_core_momentum.emonavi import EmoNavi
    from optim_core_momentum.gravity import Gravity
    from optim_core_momentum.lars import LARS
    from optim_core_momentum.lomo import LOMO
    from optim_core_momentum.noisysgd import NoisySGD
    from optim_core_momentum.ogd import OptimisticGD
    from optim_core_momentum.pid import PID
    from optim_core_momentum.pnm import PNM
    from optim_core_momentum.polyaksgd import PolyakSGD
    from optim_core_momentum.qhm import QHM
    from optim_core_momentum.rprop import Rprop
    from optim_core_momentum.schedulefreesgd import ScheduleFreeSGD
    from optim_core_momentum.sgd import SGD
    from optim_core_momentum.sgdp import SGDP
    from optim_core_momentum.sgdsai import SGDSaI
    from optim_core_momentum.sgdw import SGDW
    from optim_core_momentum.srmm import SRMM
    from optim_core_momentum.tam import TAM

__all__ = [
    "ASGD",
    "CSGDW",
    "LARS",
    "LOMO",
    "PID",
    "PNM",
    "QHM",
    "SGD",
    "SGDP",
    "SGDW",
    "SRMM",
    "TAM",
    "AccSGD",
    "AggMo",
    "AliG",
    "AveragedSGD",
    "EmoFact",
    "EmoLynx",
    "EmoNavi",
    "Gravity",
    "NoisySGD",
    "OptimisticGD",
    "PolyakSGD",
    "Rprop",
    "SGDSaI",
    "ScheduleFreeSGD",
]

__getattr__, __dir__ = exports(__name__)
