"""Wrappers for any optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optim_core.catalog import exports

if TYPE_CHECKING:
    from optim_core_wrappers.accumulate import Accumulate
    from optim_core_wrappers.agc import AGC
    from optim_core_wrappers.cautious import Cautious
    from optim_core_wrappers.clip import GradientClipping
    from optim_core_wrappers.decay import WeightDecay
    from optim_core_wrappers.ema import EMA
    from optim_core_wrappers.gc import GradientCentralization
    from optim_core_wrappers.gradient_release import GradientRelease
    from optim_core_wrappers.gradnorm import GradientNormalization
    from optim_core_wrappers.lookahead import Lookahead
    from optim_core_wrappers.normloss import NormLoss
    from optim_core_wrappers.softplus import SoftplusDenominator
    from optim_core_wrappers.stablewd import StableWeightDecay

__all__ = [
    "AGC",
    "EMA",
    "Accumulate",
    "Cautious",
    "GradientCentralization",
    "GradientClipping",
    "GradientNormalization",
    "GradientRelease",
    "Lookahead",
    "NormLoss",
    "SoftplusDenominator",
    "StableWeightDecay",
    "WeightDecay",
]

__getattr__, __dir__ = exports(__name__)
