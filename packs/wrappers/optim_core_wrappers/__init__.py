"""Wrappers for any optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optim_core.catalog import exports

if TYPE_CHECKING:
    from optim_core_wrappers.accumulate import Accumulate
    from optim_core_wrappers.agc import AGC
    from optim_core_wrappers.badam import BAdam
    from optim_core_wrappers.bias_correction import BiasCorrection
    from optim_core_wrappers.cautious import Cautious
    from optim_core_wrappers.cautious_weight_decay import CautiousWeightDecay
    from optim_core_wrappers.clip import GradientClipping
    from optim_core_wrappers.corrected_weight_decay import CorrectedWeightDecay
    from optim_core_wrappers.decay import WeightDecay
    from optim_core_wrappers.ema import EMA
    from optim_core_wrappers.emanesterov import EMANesterov
    from optim_core_wrappers.eps_placement import EpsPlacement
    from optim_core_wrappers.gc import GradientCentralization
    from optim_core_wrappers.gradient_release import GradientRelease
    from optim_core_wrappers.gradient_signs import GradientSigns
    from optim_core_wrappers.gradnorm import GradientNormalization
    from optim_core_wrappers.graft import Graft
    from optim_core_wrappers.grokfast import GrokFast
    from optim_core_wrappers.hyperball import Hyperball
    from optim_core_wrappers.lawa import LAWA
    from optim_core_wrappers.lookahead import Lookahead
    from optim_core_wrappers.magma import Magma
    from optim_core_wrappers.mechanic import Mechanic
    from optim_core_wrappers.normloss import NormLoss
    from optim_core_wrappers.orthograd import OrthoGrad
    from optim_core_wrappers.radial_brake import RadialBrake
    from optim_core_wrappers.schedulefree import ScheduleFree
    from optim_core_wrappers.skip_nonfinite import SkipNonFinite
    from optim_core_wrappers.snoo import Snoo
    from optim_core_wrappers.soda import Soda
    from optim_core_wrappers.softplus import SoftplusDenominator
    from optim_core_wrappers.spsa import SPSA
    from optim_core_wrappers.stablewd import StableWeightDecay
    from optim_core_wrappers.svrg import SVRG
    from optim_core_wrappers.swa import SWA
    from optim_core_wrappers.tail_ema import TailEMA
    from optim_core_wrappers.trac import TRAC
    from optim_core_wrappers.update_floor import UpdateFloor
    from optim_core_wrappers.zclip import ZClip

__all__ = [
    "AGC",
    "EMA",
    "LAWA",
    "SPSA",
    "SVRG",
    "SWA",
    "TRAC",
    "Accumulate",
    "BAdam",
    "BiasCorrection",
    "Cautious",
    "CautiousWeightDecay",
    "CorrectedWeightDecay",
    "EMANesterov",
    "EpsPlacement",
    "GradientCentralization",
    "GradientClipping",
    "GradientNormalization",
    "GradientRelease",
    "GradientSigns",
    "Graft",
    "GrokFast",
    "Hyperball",
    "Lookahead",
    "Magma",
    "Mechanic",
    "NormLoss",
    "OrthoGrad",
    "RadialBrake",
    "ScheduleFree",
    "SkipNonFinite",
    "Snoo",
    "Soda",
    "SoftplusDenominator",
    "StableWeightDecay",
    "TailEMA",
    "UpdateFloor",
    "WeightDecay",
    "ZClip",
]

__getattr__, __dir__ = exports(__name__)
