"""A check: a function of a subject that says what is required, and which subjects it is about."""

from __future__ import annotations

import inspect
import random
import unittest
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import torch

from optim_core.catalog.strangers import described
from optim_core.errors import ConformanceError, InvalidOption
from optim_core.names import did_you_mean
from optim_core.testing.subject import Subject


class NotApplicable(unittest.SkipTest):
    """Whether a check applies turned out when it was run; pytest shows it as skipped."""


@dataclass(frozen=True, eq=False)
class Check:
    """A check.

    Called with a subject it returns, or raises a :class:`~optim_core.errors.ConformanceError`.

    Attributes:
        function: does the work; its docstring's first line is the requirement, what follows ``Remedy:`` the remedy.
        applies: tells by the declarations of a subject whether the check is about it.
        steps: True if it takes steps: a subject that can take none fails one check, not all of them.
    """

    function: Callable[[Any], None]
    applies: Callable[[Any], bool]
    steps: bool

    @cached_property
    def name(self) -> str:
        """Its name, by which expected failures refer to it."""
        return self.function.__name__

    @cached_property
    def requirement(self) -> str:
        """What is required, one sentence."""
        return self._texts[0]

    @cached_property
    def remedy(self) -> str:
        """What to do where it fails."""
        return self._texts[1]

    @cached_property
    def _texts(self) -> tuple[str, str]:
        first, _, rest = (inspect.getdoc(self.function) or "").partition("\n")
        return first, " ".join(rest.partition("Remedy:")[2].split())

    def __call__(self, subject: Subject) -> None:
        """Run the check.

        Raises:
            ConformanceError: the subject fails it. Whatever a stranger's code raises comes out as this.
            NotApplicable: it turns out that the check is not about this subject.
        """
        if self.steps and subject.obstacle:
            raise NotApplicable(f"{subject.name} takes no step: check_takes_a_step says why")
        try:
            with isolated():
                self.function(subject)
        except NotApplicable:
            raise
        except ConformanceError as error:
            raise ConformanceError(self._text(subject, str(error))) from error
        except (Exception, SystemExit) as error:
            raise ConformanceError(self._text(subject, f"it raises {described(error)}")) from error

    def _text(self, subject: Subject, fault: str) -> str:
        return f"{subject.name}: {fault}. {self.requirement} Remedy: {self.remedy} ({self.name})"

    def __repr__(self) -> str:
        return self.name


_checks: dict[str, Check] = {}


def check(
    applies: Callable[[Any], bool], *, steps: bool = True
) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Register a function as a check of those subjects for which ``applies`` is true."""

    def register(function: Callable[[Any], None]) -> Callable[[Any], None]:
        _checks[function.__name__] = Check(function, applies, steps)
        return function

    return register


def registered() -> Mapping[str, Check]:
    """All checks by name, in the order in which they were registered."""
    return _checks


def checks_of(subject: Subject) -> list[Check]:
    """The checks that are about a subject."""
    if subject.broken:
        return [_checks["check_target_is_what_its_kind_says"]]
    return [each for each in _checks.values() if each.applies(subject)]


def check_names(names: Any) -> None:
    """Refuse names of checks that do not exist.

    Raises:
        InvalidOption: naming the check, and what is near.
    """
    for name in names:
        if name not in _checks:
            raise InvalidOption(
                f"there is no check {name!r}.{did_you_mean(name, _checks)} optim_core.testing.all_checks() lists them"
            )


def fail(fault: str) -> NoReturn:
    """Say what is wrong: in words that end without a full stop."""
    raise ConformanceError(fault)


def require(fulfilled: bool, fault: str) -> None:
    """Fail unless something is fulfilled."""
    if not fulfilled:
        fail(fault)


@contextmanager
def isolated() -> Iterator[None]:
    """A check's surroundings: seeded, and left as they were found; warnings have a check of their own."""
    state, dtype = random.getstate(), torch.get_default_dtype()
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            yield
    finally:
        random.setstate(state)
        torch.set_default_dtype(dtype)
