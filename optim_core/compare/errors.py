"""Errors of a comparison before its first run."""

from __future__ import annotations

from optim_core.errors import OptimCoreError


class CompareError(OptimCoreError):
    """Base of the errors of `optim-core compare`."""


class ContenderSyntaxError(CompareError):
    """An optimizer on the command line cannot be read."""


class TaskError(CompareError):
    """A task could not be loaded, or does not follow the protocol of `Task`."""


class PlanError(CompareError):
    """The requested comparison cannot be run."""


class ResultsError(CompareError):
    """A results file cannot be read, or belongs to another comparison."""
