"""Optimizers that scale each step by running moments of the gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optim_core.exports import exports

if TYPE_CHECKING:
    from optim_core_adaptive.adabelief import AdaBelief
    from optim_core_adaptive.adafactor import AdaFactor
    from optim_core_adaptive.adagrad import Adagrad
    from optim_core_adaptive.adam import Adam
    from optim_core_adaptive.adamax import Adamax
    from optim_core_adaptive.adamp import AdamP
    from optim_core_adaptive.adamw import AdamW
    from optim_core_adaptive.adan import Adan
    from optim_core_adaptive.amsgrad import AMSGrad
    from optim_core_adaptive.dadaptadagrad import DAdaptAdaGrad
    from optim_core_adaptive.dadaptadam import DAdaptAdam
    from optim_core_adaptive.dadaptadan import DAdaptAdan
    from optim_core_adaptive.dadaptlion import DAdaptLion
    from optim_core_adaptive.dadaptsgd import DAdaptSGD
    from optim_core_adaptive.lamb import LAMB
    from optim_core_adaptive.madgrad import MADGRAD
    from optim_core_adaptive.nadam import NAdam
    from optim_core_adaptive.novograd import NovoGrad
    from optim_core_adaptive.prodigy import Prodigy
    from optim_core_adaptive.qhadam import QHAdam
    from optim_core_adaptive.radam import RAdam
    from optim_core_adaptive.ranger import Ranger
    from optim_core_adaptive.ranger21 import Ranger21
    from optim_core_adaptive.rmsprop import RMSprop
    from optim_core_adaptive.schedulefreeadamw import ScheduleFreeAdamW
    from optim_core_adaptive.sm3 import SM3
    from optim_core_adaptive.swats import SWATS
    from optim_core_adaptive.yogi import Yogi

__all__ = [
    "LAMB",
    "MADGRAD",
    "SM3",
    "SWATS",
    "AMSGrad",
    "AdaBelief",
    "AdaFactor",
    "Adagrad",
    "Adam",
    "AdamP",
    "AdamW",
    "Adamax",
    "Adan",
    "DAdaptAdaGrad",
    "DAdaptAdam",
    "DAdaptAdan",
    "DAdaptLion",
    "DAdaptSGD",
    "NAdam",
    "NovoGrad",
    "Prodigy",
    "QHAdam",
    "RAdam",
    "RMSprop",
    "Ranger",
    "Ranger21",
    "ScheduleFreeAdamW",
    "Yogi",
]

__getattr__, __dir__ = exports(__name__)
