"""Learning-rate schedules from papers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optim_core.exports import exports

if TYPE_CHECKING:
    from optim_core_schedulers.chebyshev import ChebyshevLR
    from optim_core_schedulers.explore_exploit import ExploreExploitLR
    from optim_core_schedulers.untuned_linear_warmup import UntunedLinearWarmup

__all__ = [
    "ChebyshevLR",
    "ExploreExploitLR",
    "UntunedLinearWarmup",
]

__getattr__, __dir__ = exports(__name__)
