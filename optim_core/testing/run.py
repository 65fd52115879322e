"""Checks of a class, a method or a pack, and a report of them."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import optim_core.testing.checks  # noqa: F401 - each check registers itself
from optim_core.catalog.targets import import_target, is_target
from optim_core.errors import ConformanceError
from optim_core.testing.check import Check, check_names, checks_of, registered
from optim_core.testing.subject import PackSubject, Subject, subjects_of
from optim_core.text import counted

#: Reasons by names of checks, for all subjects; or a function that returns those for one subject.
Expected: TypeAlias = Mapping[str, str] | Callable[[Any], Mapping[str, str]]
Status: TypeAlias = Literal["passed", "failed", "expected", "skipped"]


@dataclass(frozen=True)
class Outcome:
    """What came of one check of one subject.

    Attributes:
        subject: its name.
        check: the check's name.
        status: ``"passed"``; ``"failed"``; ``"expected"``, a failure that was expected; ``"skipped"``, where it turned
            out that the check does not apply.
        text: why, unless it passed: fault, requirement and remedy.
    """

    subject: str
    check: str
    status: Status
    text: str = ""


@dataclass(frozen=True)
class Report:
    """What came of all checks."""

    outcomes: tuple[Outcome, ...]

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """Those that failed and should not have, and those that were expected to fail and passed."""
        return tuple(o for o in self.outcomes if o.status == "failed")

    def raise_for_failures(self) -> Report:
        """Return the report itself, or raise if there are failures.

        Raises:
            ConformanceError: with the text of each failure.
        """
        if self.failures:
            lines = "\n".join(f"- {failure.text}" for failure in self.failures)
            count = counted(len(self.failures), "check")
            raise ConformanceError(f"{count} of {len(self.outcomes)} failed:\n{lines}")
        return self

    def __str__(self) -> str:
        counts = {status: sum(o.status == status for o in self.outcomes) for status in ("passed", "failed", "expected")}
        lines = [f"{o.status:<8} {o.subject}  {o.check}" + (f"  {o.text}" if o.text else "") for o in self.outcomes]
        return "\n".join([*lines, ", ".join(f"{count} {status}" for status, count in counts.items() if count)])


def all_checks() -> Mapping[str, Check]:
    """Every check by its name; its ``requirement`` and ``remedy`` say what it is about."""
    return dict(registered())


def cases(
    subjects: Iterable[Any], expected: Expected | None = None, only: Collection[str] = ()
) -> Iterator[tuple[Any, Check, str]]:
    """Each subject with each check that is about it (or those of ``only``), and the reason if it is expected to fail.

    Raises:
        InvalidOption: there is no such check as is expected to fail, or asked for.
    """
    check_names(only)
    for subject in subjects:
        reasons = (expected(subject) if callable(expected) else expected) or {}
        check_names(reasons)
        for check in checks_of(subject):
            if not only or check.name in only:
                yield subject, check, reasons.get(check.name, "")


def outcome(subject: Any, check: Check, reason: str = "") -> Outcome:
    """Run one check."""
    try:
        check(subject)
    except unittest.SkipTest as skipped:
        return Outcome(subject.name, check.name, "skipped", str(skipped))
    except ConformanceError as error:
        if reason:
            return Outcome(subject.name, check.name, "expected", reason)
        return Outcome(subject.name, check.name, "failed", str(error))
    if reason:
        text = f"{subject.name}: {check.name} passes, and was expected to fail ({reason}). Remedy: expect it no longer"
        return Outcome(subject.name, check.name, "failed", text)
    return Outcome(subject.name, check.name, "passed")


def outcomes(
    subjects: Iterable[Any], expected: Expected | None = None, only: Collection[str] = ()
) -> Iterator[Outcome]:
    """Run all checks, or those of ``only``, one by one."""
    return (outcome(*case) for case in cases(subjects, expected, only))


def subjects(what: Any) -> Sequence[Any]:
    """The subjects that something stands for.

    Args:
        what: a pack's name; ``"pack:name"`` or ``"name"`` of a method; ``"module:Class"``; a class; a subject; or a
            list of them.

    Raises:
        UnresolvedName: there is no such pack or method.
    """
    if isinstance(what, (Subject, PackSubject)):
        return [what]
    if isinstance(what, (list, tuple)):
        return [subject for each in what for subject in subjects(each)]
    if not isinstance(what, str):
        return [Subject(what)]
    from optim_core.catalog.registry import registry
    from optim_core.names import normalise

    if any(normalise(pack.name) == normalise(what) for pack in registry().packs):
        return subjects_of(what)
    return [method(what)]


def method(name: str) -> Subject:
    """A method by name, or a class by ``"module:Class"``.

    Raises:
        UnresolvedName: there is no such method.
    """
    from optim_core.errors import UnknownName

    try:
        return Subject.named(name)
    except UnknownName:
        if not is_target(name):
            raise
        return Subject(import_target(name))


def check_optimizer(
    cls: Any,
    options: Mapping[str, Any] | None = None,
    *,
    expected_failed_checks: Expected | None = None,
    on_fail: Literal["raise", "report"] = "raise",
) -> Report:
    """Check a class: any torch.optim.Optimizer, whoever wrote it, a wrapper of ours, or a method by name.

    Args:
        cls: the class, or a name as for :func:`optim_core.get`, or ``"module:Class"``.
        options: what it is built with, beside parameters.
        expected_failed_checks: reasons by names of checks. Strict: one of them that passes fails.
        on_fail: whether a failure raises, or is told by the report alone.

    Returns:
        What came of each check.

    Raises:
        ConformanceError: a check fails.
        InvalidOption: there is no such check as is expected to fail.

    Example:
        >>> import torch
        >>> from optim_core.testing import check_optimizer
        >>> report = check_optimizer(torch.optim.SGD, {"lr": 0.1})
        >>> report.failures
        ()
    """
    subject = method(cls) if isinstance(cls, str) else Subject(cls)
    built = Subject(subject.target, {**subject.options, **(options or {})}, subject.entry, subject.broken)
    return _report([built], expected_failed_checks, on_fail)


def check_pack(
    pack: str,
    *,
    expected_failed_checks: Expected | None = None,
    on_fail: Literal["raise", "report"] = "raise",
) -> Report:
    """Check an installed pack: its manifest, and every method in it.

    Args:
        pack: its name.
        expected_failed_checks: reasons by names of checks, for all its methods; or a function that returns those for
            one subject, by its ``name``. Strict: one of them that passes fails.
        on_fail: whether a failure raises, or is told by the report alone.

    Returns:
        What came of each check of each method.

    Raises:
        ConformanceError: a check fails.
        UnresolvedName: the pack is unknown, not installed, broken or switched off.
        InvalidOption: there is no such check as is expected to fail.

    Example:
        >>> check_pack("acme")  # doctest: +SKIP
    """
    return _report(subjects_of(pack), expected_failed_checks, on_fail)


def _report(found: Iterable[Any], expected: Expected | None, on_fail: str) -> Report:
    report = Report(tuple(outcomes(found, expected)))
    return report.raise_for_failures() if on_fail == "raise" else report
