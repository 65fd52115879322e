"""Learning-rate schedules from papers, and torch's own beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optim_core.catalog import exports

if TYPE_CHECKING:
    from torch.optim.lr_scheduler import (
        ConstantLR,
        CosineAnnealingLR,
        CosineAnnealingWarmRestarts,
        CyclicLR,
        ExponentialLR,
        LinearLR,
        MultiplicativeLR,
        MultiStepLR,
        OneCycleLR,
        PolynomialLR,
        ReduceLROnPlateau,
        StepLR,
    )

    from optim_core_schedulers.chebyshev import ChebyshevLR
    from optim_core_schedulers.cosine import CosineScheduler
    from optim_core_schedulers.cosine_cycles import CosineCycles
    from optim_core_schedulers.cosine_option import CosineOption
    from optim_core_schedulers.cosine_warmup_restarts import CosineAnnealingWarmupRestarts
    from optim_core_schedulers.explore_exploit import ExploreExploitLR
    from optim_core_schedulers.inverse_time import InverseTimeDecay
    from optim_core_schedulers.linear import LinearScheduler
    from optim_core_schedulers.linear_warmup import LinearWarmup
    from optim_core_schedulers.logtime_beta import LogTimeBeta
    from optim_core_schedulers.momentum_schedule import MomentumSchedule
    from optim_core_schedulers.onecycle import CosineOneCycle, LinearOneCycle
    from optim_core_schedulers.option_schedule import OptionSchedule
    from optim_core_schedulers.piecewise import Piecewise
    from optim_core_schedulers.plateau import PlateauWithWarmup
    from optim_core_schedulers.poly import PolyScheduler
    from optim_core_schedulers.powercool import PowerCool
    from optim_core_schedulers.proportion import ProportionScheduler
    from optim_core_schedulers.radam_warmup import RAdamWarmup
    from optim_core_schedulers.rex import REXScheduler
    from optim_core_schedulers.rsqrt import InverseSqrt
    from optim_core_schedulers.sgdr import SGDR
    from optim_core_schedulers.tanh import TanhDecay
    from optim_core_schedulers.untuned_exponential_warmup import UntunedExponentialWarmup
    from optim_core_schedulers.untuned_linear_warmup import UntunedLinearWarmup
    from optim_core_schedulers.warmup_cosine import WarmupCosine
    from optim_core_schedulers.wsd import WarmupStableDecay

__all__ = [
    "SGDR",
    "ChebyshevLR",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CosineAnnealingWarmupRestarts",
    "CosineCycles",
    "CosineOneCycle",
    "CosineOption",
    "CosineScheduler",
    "CyclicLR",
    "ExploreExploitLR",
    "ExponentialLR",
    "InverseSqrt",
    "InverseTimeDecay",
    "LinearLR",
    "LinearOneCycle",
    "LinearScheduler",
    "LinearWarmup",
    "LogTimeBeta",
    "MomentumSchedule",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "OptionSchedule",
    "Piecewise",
    "PlateauWithWarmup",
    "PolyScheduler",
    "PolynomialLR",
    "PowerCool",
    "ProportionScheduler",
    "RAdamWarmup",
    "REXScheduler",
    "ReduceLROnPlateau",
    "StepLR",
    "TanhDecay",
    "UntunedExponentialWarmup",
    "UntunedLinearWarmup",
    "WarmupCosine",
    "WarmupStableDecay",
]

__getattr__, __dir__ = exports(__name__)
