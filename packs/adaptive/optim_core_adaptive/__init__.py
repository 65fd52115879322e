"""Optimizers that scale each step by running moments of the gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optim_core.catalog import exports

if TYPE_CHECKING:
    from optim_core_adaptive.a2grad import A2Grad
    from optim_core_adaptive.acprop import ACProp
    from optim_core_adaptive.adabelief import AdaBelief
    from optim_core_adaptive.adabound import AdaBound
    from optim_core_adaptive.adadelta import AdaDelta
    from optim_core_adaptive.adafactor import AdaFactor
    from optim_core_adaptive.adafactorbv import AdafactorBV
    from optim_core_adaptive.adagc import AdaGC
    from optim_core_adaptive.adagrad import Adagrad
    from optim_core_adaptive.adagradnorm import AdaGradNorm
    from optim_core_adaptive.adai import Adai
    from optim_core_adaptive.adaiv2 import AdaiV2
    from optim_core_adaptive.adalite import Adalite
    from optim_core_adaptive.adalomo import AdaLOMO
    from optim_core_adaptive.adam import Adam
    from optim_core_adaptive.adam_atan2 import AdamAtan2
    from optim_core_adaptive.adamax import Adamax
    from optim_core_adaptive.adamaxw import AdamaxW
    from optim_core_adaptive.adamc import AdamC
    from optim_core_adaptive.adamd import AdamD
    from optim_core_adaptive.adamg import AdamG
    from optim_core_adaptive.adammini import AdamMini
    from optim_core_adaptive.adamod import AdaMod
    from optim_core_adaptive.adamp import AdamP
    from optim_core_adaptive.adamw import AdamW
    from optim_core_adaptive.adamwsn import AdamWSN
    from optim_core_adaptive.adan import Adan
    from optim_core_adaptive.adana import ADana
    from optim_core_adaptive.adanorm import AdaNorm
    from optim_core_adaptive.adapnm import AdaPNM
    from optim_core_adaptive.adashift import AdaShift
    from optim_core_adaptive.adasmooth import AdaSmooth
    from optim_core_adaptive.adatam import AdaTAM
    from optim_core_adaptive.ademamix import AdEMAMix
    from optim_core_adaptive.adopt import ADOPT
    from optim_core_adaptive.aegd import AEGD
    from optim_core_adaptive.aida import Aida
    from optim_core_adaptive.amos import Amos
    from optim_core_adaptive.amsgrad import AMSGrad
    from optim_core_adaptive.ano import Ano
    from optim_core_adaptive.avagrad import AvaGrad
    from optim_core_adaptive.bcos import BCOS
    from optim_core_adaptive.cadamw import CAdamW
    from optim_core_adaptive.came import CAME
    from optim_core_adaptive.cocob import COCOB
    from optim_core_adaptive.dadaptadagrad import DAdaptAdaGrad
    from optim_core_adaptive.dadaptadam import DAdaptAdam
    from optim_core_adaptive.dadaptadan import DAdaptAdan
    from optim_core_adaptive.dadaptlion import DAdaptLion
    from optim_core_adaptive.dadaptsgd import DAdaptSGD
    from optim_core_adaptive.diffgrad import DiffGrad
    from optim_core_adaptive.dog import DoG, LDoG
    from optim_core_adaptive.dowg import DoWG
    from optim_core_adaptive.dualadam import DualAdam
    from optim_core_adaptive.exadam import EXAdam
    from optim_core_adaptive.fadam import FAdam
    from optim_core_adaptive.flashadamw import FlashAdamW
    from optim_core_adaptive.ftrl import FTRL
    from optim_core_adaptive.gefen import Gefen
    from optim_core_adaptive.gpaadamw import GPAAdamW
    from optim_core_adaptive.grams import Grams
    from optim_core_adaptive.grokadamw import GrokAdamW
    from optim_core_adaptive.grokfastadamw import GrokFastAdamW
    from optim_core_adaptive.hyperballadamw import HyperBallAdamW
    from optim_core_adaptive.kate import Kate
    from optim_core_adaptive.kourkoutas import KourkoutasBeta
    from optim_core_adaptive.lamb import LAMB
    from optim_core_adaptive.laprop import LaProp
    from optim_core_adaptive.lowbitadamw import LowBitAdamW
    from optim_core_adaptive.madgrad import MADGRAD
    from optim_core_adaptive.mars import MARS
    from optim_core_adaptive.mirror_madgrad import MirrorMADGRAD
    from optim_core_adaptive.momo import Momo, MomoAdam
    from optim_core_adaptive.msamlaprop import MSAMLaProp
    from optim_core_adaptive.nadam import NAdam
    from optim_core_adaptive.nadamw import NAdamW
    from optim_core_adaptive.novograd import NovoGrad
    from optim_core_adaptive.optimisticadam import OptimisticAdam
    from optim_core_adaptive.ortholaprop import OrthoLaProp
    from optim_core_adaptive.padam import PAdam
    from optim_core_adaptive.prodigy import Prodigy
    from optim_core_adaptive.qhadam import QHAdam
    from optim_core_adaptive.radam import RAdam
    from optim_core_adaptive.ranger import Ranger
    from optim_core_adaptive.ranger21 import Ranger21
    from optim_core_adaptive.rmsprop import RMSprop
    from optim_core_adaptive.rmsproptf import RMSpropTF
    from optim_core_adaptive.rose import ROSE
    from optim_core_adaptive.schedulefreeadamw import ScheduleFreeAdamW
    from optim_core_adaptive.schedulefreeradam import ScheduleFreeRAdam
    from optim_core_adaptive.signlaprop import SignLaProp
    from optim_core_adaptive.simplifiedademamix import SimplifiedAdEMAMix
    from optim_core_adaptive.sm3 import SM3
    from optim_core_adaptive.spam import SPAM
    from optim_core_adaptive.sparseadam import SparseAdam
    from optim_core_adaptive.stableadamw import StableAdamW
    from optim_core_adaptive.stablespam import StableSPAM
    from optim_core_adaptive.suds import SUDSAdamW
    from optim_core_adaptive.swats import SWATS
    from optim_core_adaptive.unscaledadamw import UnscaledAdamW
    from optim_core_adaptive.vsgd import VSGD
    from optim_core_adaptive.yogi import Yogi

__all__ = [
    "ADOPT",
    "AEGD",
    "BCOS",
    "CAME",
    "COCOB",
    "FTRL",
    "LAMB",
    "MADGRAD",
    "MARS",
    "ROSE",
    "SM3",
    "SPAM",
    "SWATS",
    "VSGD",
    "A2Grad",
    "ACProp",
    "ADana",
    "AMSGrad",
    "AdEMAMix",
    "AdaBelief",
    "AdaBound",
    "AdaDelta",
    "AdaFactor",
    "AdaGC",
    "AdaGradNorm",
    "AdaLOMO",
    "AdaMod",
    "AdaNorm",
    "AdaPNM",
    "AdaShift",
    "AdaSmooth",
    "AdaTAM",
    "AdafactorBV",
    "Adagrad",
    "Adai",
    "AdaiV2",
    "Adalite",
    "Adam",
    "AdamAtan2",
    "AdamC",
    "AdamD",
    "AdamG",
    "AdamMini",
    "AdamP",
    "AdamW",
    "AdamWSN",
    "Adamax",
    "AdamaxW",
    "Adan",
    "Aida",
    "Amos",
    "Ano",
    "AvaGrad",
    "CAdamW",
    "DAdaptAdaGrad",
    "DAdaptAdam",
    "DAdaptAdan",
    "DAdaptLion",
    "DAdaptSGD",
    "DiffGrad",
    "DoG",
    "DoWG",
    "DualAdam",
    "EXAdam",
    "FAdam",
    "FlashAdamW",
    "GPAAdamW",
    "Gefen",
    "Grams",
    "GrokAdamW",
    "GrokFastAdamW",
    "HyperBallAdamW",
    "Kate",
    "KourkoutasBeta",
    "LDoG",
    "LaProp",
    "LowBitAdamW",
    "MSAMLaProp",
    "MirrorMADGRAD",
    "Momo",
    "MomoAdam",
    "NAdam",
    "NAdamW",
    "NovoGrad",
    "OptimisticAdam",
    "OrthoLaProp",
    "PAdam",
    "Prodigy",
    "QHAdam",
    "RAdam",
    "RMSprop",
    "RMSpropTF",
    "Ranger",
    "Ranger21",
    "SUDSAdamW",
    "ScheduleFreeAdamW",
    "ScheduleFreeRAdam",
    "SignLaProp",
    "SimplifiedAdEMAMix",
    "SparseAdam",
    "StableAdamW",
    "StableSPAM",
    "UnscaledAdamW",
    "Yogi",
]

__getattr__, __dir__ = exports(__name__)
