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
    from optim_core_schedulers.cosine_warmup_restarts import CosineAnnealingWarmupRestarts
    from optim_core_schedulers.explore_exploit import ExploreExploitLR
    from optim_core_schedulers.linear import LinearScheduler
    from optim_core_schedulers.linear_warmup import LinearWarmup
    from optim_core_schedulers.poly import PolyScheduler
    from optim_core_schedulers.proportion import ProportionScheduler
    from optim_core_schedulers.radam_warmup import RAdamWarmup
    from optim_core_schedulers.rex import REXScheduler
    from optim_core_schedulers.untuned_exponential_warmup import UntunedExponentialWarmup
    from optim_core_schedulers.untuned_linear_warmup import UntunedLinearWarmup
    from optim_core_schedulers.wsd import WarmupStableDecay

__all__ = [
    "ChebyshevLR",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CosineAnnealingWarmupRestarts",
    "CosineScheduler",
    "CyclicLR",
    "ExploreExploitLR",
    "ExponentialLR",
    "LinearLR",
    "LinearScheduler",
    "LinearWarmup",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolyScheduler",
    "PolynomialLR",
    "ProportionScheduler",
    "RAdamWarmup",
    "REXScheduler",
    "ReduceLROnPlateau",
    "StepLR",
    "UntunedExponentialWarmup",
    "UntunedLinearWarmup",
    "WarmupStableDecay",
]

__getattr__, __dir__ = exports(__name__)
