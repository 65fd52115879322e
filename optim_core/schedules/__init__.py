"""Schedules: the base class for those of packs, the option that one sets, and the course of any without training."""

from optim_core.schedules.base import Rate, Schedule, of_group
from optim_core.schedules.course import BASE_LR, BETA2, advance, example, rates, trial_group, values
from optim_core.schedules.driving import driving
from optim_core.schedules.option import option_of

__all__ = [
    "BASE_LR",
    "BETA2",
    "Rate",
    "Schedule",
    "advance",
    "driving",
    "example",
    "of_group",
    "option_of",
    "rates",
    "trial_group",
    "values",
]
