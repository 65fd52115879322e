"""Schedules: the base class for those of packs, and the course of any without training."""

from optim_core.schedules.base import Rate, Schedule, of_group
from optim_core.schedules.course import BASE_LR, BETA2, advance, example, rates

__all__ = ["BASE_LR", "BETA2", "Rate", "Schedule", "advance", "example", "of_group", "rates"]
