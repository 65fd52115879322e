"""Optimizers that scale each step by running moments of the gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optim_core.catalog import exports

if TYPE_CHECKING:
    from optim_core_adaptive.a2grad import A2Grad
    from optim_core_adaptive.adabelief import AdaBelief
    from optim_core_adaptive.adabound import AdaBound
    from optim_core_adaptive.adadelta import AdaDelta
    from optim_core_adaptive.adafactor import AdaFactor
    from optim_core_adaptive.adagrad import Adagrad
    from optim_core_adaptive.adai import Adai
    from optim_core_adaptive.adaiv2 import AdaiV2
    from optim_core_adaptive.adam import Adam
    from optim_core_adaptive.adamax import Adamax
    from optim_core_adaptive.adamc import AdamC
    from optim_core_adaptive.adamd import AdamD
    from optim_core_adaptive.adamod import AdaMod
    from optim_core_adaptive.adamp import AdamP
    from optim_core_adaptive.adamw import AdamW
    from optim_core_adaptive.adan import Adan
    from optim_core_adaptive.adanorm import AdaNorm
    from optim_core_adaptive.adapnm import AdaPNM
    from optim_core_adaptive.adashift import AdaShift
    from optim_core_adaptive.adasmooth import AdaSmooth
    from optim_core_adaptive.amos import Amos
    from optim_core_adaptive.amsgrad import AMSGrad
    from optim_core_adaptive.avagrad import AvaGrad
    from optim_core_adaptive.cadamw import CAdamW
    from optim_core_adaptive.dadaptadagrad import DAdaptAdaGrad
    from optim_core_adaptive.dadaptadam import DAdaptAdam
    from optim_core_adaptive.dadaptadan import DAdaptAdan
    from optim_core_adaptive.dadaptlion import DAdaptLion
    from optim_core_adaptive.dadaptsgd import DAdaptSGD
    from optim_core_adaptive.diffgrad import DiffGrad
    from optim_core_adaptive.gpaadamw import GPAAdamW
    from optim_core_adaptive.grams import Grams
    from optim_core_adaptive.grokfastadamw import GrokFastAdamW
    from optim_core_adaptive.hyperballadamw import HyperBallAdamW
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
    from optim_core_adaptive.schedulefreeradam import ScheduleFreeRAdam
    from optim_core_adaptive.sm3 import SM3
    from optim_core_adaptive.swats import SWATS
    from optim_core_adaptive.yogi import Yogi

__all__ = [
    "LAMB",
    "MADGRAD",
    "SM3",
    "SWATS",
    "A2Grad",
    "AMSGrad",
    "AdaBelief",
    "AdaBound",
    "AdaDelta",
    "AdaFactor",
    "AdaMod",
    "AdaNorm",
    "AdaPNM",
    "AdaShift",
    "AdaSmooth",
    "Adagrad",
    "Adai",
    "AdaiV2",
    "Adam",
    "AdamC",
    "AdamD",
    "AdamP",
    "AdamW",
    "Adamax",
    "Adan",
    "Amos",
    "AvaGrad",
    "CAdamW",
    "DAdaptAdaGrad",
    "DAdaptAdam",
    "DAdaptAdan",
    "DAdaptLion",
    "DAdaptSGD",
    "DiffGrad",
    "GPAAdamW",
    "Grams",
    "GrokFastAdamW",
    "HyperBallAdamW",
    "NAdam",
    "NovoGrad",
    "Prodigy",
    "QHAdam",
    "RAdam",
    "RMSprop",
    "Ranger",
    "Ranger21",
    "ScheduleFreeAdamW",
    "ScheduleFreeRAdam",
    "Yogi",
]

__getattr__, __dir__ = exports(__name__)
