"""Every exception and warning of the library. Each message names the thing, what is near it, and the remedy."""

from __future__ import annotations

import sys
import warnings

__all__ = [
    "AmbiguousName",
    "CheckpointMismatch",
    "ClosureError",
    "ConcurrentStep",
    "ConformanceError",
    "EngineUnavailable",
    "GraphMissing",
    "InvalidOption",
    "LicenseNotAllowed",
    "LossMissing",
    "NoCounterpart",
    "NonCommercialWarning",
    "NotFinite",
    "NotOffered",
    "NotTraining",
    "OptimCoreError",
    "PackBroken",
    "PackDisabled",
    "PackNotInstalled",
    "PackWarning",
    "PolicyError",
    "RuleError",
    "SettingWarning",
    "SparseGradient",
    "SpecError",
    "UnknownName",
    "UnknownOption",
    "UnresolvedName",
    "UnsupportedParameter",
    "WrapperConflict",
    "WrongKind",
    "warn",
]


class OptimCoreError(Exception):
    """Base of all exceptions of the library."""


class UnresolvedName(OptimCoreError, LookupError):
    """Base: a name that cannot be turned into a method here and now."""


class UnknownName(UnresolvedName):
    """A name, or a pack, that does not exist."""


class AmbiguousName(UnresolvedName):
    """A name that two packs claim."""


class WrongKind(UnresolvedName):
    """A name of another kind: a wrapper where an optimizer was asked for."""


class PackNotInstalled(UnresolvedName):
    """A name of a first-party pack that is not installed."""


class PackDisabled(UnresolvedName):
    """A name of a pack that an environment variable switches off."""


class PackBroken(UnresolvedName):
    """A pack, or the module of a method, that cannot be loaded."""


class SpecError(OptimCoreError, ValueError):
    """A spec that contradicts itself, or a pack whose specs do."""


class LicenseNotAllowed(OptimCoreError):
    """A licence that the policy in force does not allow."""


class PolicyError(OptimCoreError, ValueError):
    """A licence policy that cannot be understood."""


class PackWarning(UserWarning):
    """A pack was skipped because it does not work."""


class SettingWarning(UserWarning):
    """An environment variable names something that does not exist."""


class NonCommercialWarning(UserWarning):
    """Something is used whose licence rules out commercial use."""


class RuleError(OptimCoreError):
    """An update rule (or a method's declarations) does not make sense."""


class UnknownOption(OptimCoreError, TypeError):
    """An option that the method does not have."""


class NoCounterpart(OptimCoreError, LookupError):
    """An optimizer of another library, or what an option of it does, that there is not here."""


class InvalidOption(OptimCoreError, ValueError):
    """An option of the wrong type or out of its range."""


class UnsupportedParameter(OptimCoreError, TypeError):
    """A parameter or gradient that the method cannot work on."""


class SparseGradient(UnsupportedParameter):
    """A sparse gradient where only dense ones are supported."""


class GraphMissing(OptimCoreError, RuntimeError):
    """A second-order method got gradients without the graph that it differentiates."""


class LossMissing(OptimCoreError, RuntimeError):
    """A method that needs the value of the loss took a step without it."""


class NotFinite(OptimCoreError, ArithmeticError):
    """Losses or gradients were inf or nan in too many steps, one after the other."""


class NotTraining(OptimCoreError, RuntimeError):
    """A step while the parameters are at the point for evaluation."""


class ClosureError(OptimCoreError, RuntimeError):
    """A closure is missing, or does not do what it should."""


class ConcurrentStep(OptimCoreError, RuntimeError):
    """Two threads step with one optimizer at once."""


class EngineUnavailable(OptimCoreError, RuntimeError):
    """The requested engine cannot run an update."""


class CheckpointMismatch(OptimCoreError, ValueError):
    """A state dict that does not belong to this optimizer."""


class WrapperConflict(OptimCoreError, TypeError):
    """A wrapper cannot be put around this optimizer."""


class NotOffered(WrapperConflict):
    """A wrapper acts on something that the method inside does not have, such as a denominator."""


class ConformanceError(OptimCoreError, AssertionError):
    """A class does not do what it says, or what every optimizer must; the text names the check and the remedy."""


def warn(message: str, category: type[Warning]) -> None:
    """Warn at the line of the user's code that called the library, however deep inside the library this is."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "optim_core":
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
