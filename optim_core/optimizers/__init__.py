"""torch's Optimizer around a method."""

from optim_core.optimizers.closures import backward, call_closure
from optim_core.optimizers.curvature import HessianDiagonal
from optim_core.optimizers.draws import GlobalStreams, hashed_seed
from optim_core.optimizers.evaluations import Evaluations, combined, count_passes, put, taken
from optim_core.optimizers.explanation import Explanation, Row, explain
from optim_core.optimizers.gradients import check_dense, check_gradient, parameters
from optim_core.optimizers.loss_value import LossValue
from optim_core.optimizers.modes import Modes
from optim_core.optimizers.needs import has_modes, needs_of
from optim_core.optimizers.optimizer import RuleOptimizer
from optim_core.optimizers.ranks import any_rank
from optim_core.optimizers.ranks import count as count_ranks
from optim_core.optimizers.ranks import mean as mean_over_ranks
from optim_core.optimizers.release import FusedBackward, StepsInBackward, alone, hooked, refuse_ranks
from optim_core.optimizers.schedule_free import ScheduleFree

__all__ = [
    "Evaluations",
    "Explanation",
    "FusedBackward",
    "GlobalStreams",
    "HessianDiagonal",
    "LossValue",
    "Modes",
    "Row",
    "RuleOptimizer",
    "ScheduleFree",
    "StepsInBackward",
    "alone",
    "any_rank",
    "backward",
    "call_closure",
    "check_dense",
    "check_gradient",
    "combined",
    "count_passes",
    "count_ranks",
    "explain",
    "has_modes",
    "hashed_seed",
    "hooked",
    "mean_over_ranks",
    "needs_of",
    "parameters",
    "put",
    "refuse_ranks",
    "taken",
]
