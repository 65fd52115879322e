"""What can be wrong with a comparison before its first run."""

from __future__ import annotations

from optim_core.errors import OptimCoreError


class CompareError(OptimCoreError):
    """Base of the errors of `optim-core compare`."""


class ContenderSyntaxError(CompareError):
    """An optimizer on the command line could not be read."""


class TaskError(CompareError):
    """A task could not be loaded, or does not keep to the protocol of `Task`."""


class PlanError(CompareError):
    """The comparison that was asked for cannot be run as it stands."""


class ResultsError(CompareError):
    """A results file cannot be read, or belongs to another comparison."""
