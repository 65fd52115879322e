"""Checks as tests of pytest, one test each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optim_core.testing.run import Expected, cases, subjects

if TYPE_CHECKING:
    import pytest


def parametrize_with_checks(what: Any, *, expected_failed_checks: Expected | None = None) -> pytest.MarkDecorator:
    """Parametrise a test with subjects and the checks that are about them: one test for each pair.

    Args:
        what: a pack's name, a method's, a class, a :class:`Subject`, or a list of them.
        expected_failed_checks: reasons by names of checks; or a function that returns those for one subject. Strict:
            one of them that passes fails.

    Returns:
        The decorator of a test that takes ``subject`` and ``check``.

    Raises:
        UnresolvedName: there is no such pack or method.
        InvalidOption: there is no such check as is expected to fail.

    Example:
        >>> @parametrize_with_checks("acme")  # doctest: +SKIP
        ... def test_conformance(subject, check):
        ...     check(subject)
    """
    import pytest  # what documents the kit does without

    return pytest.mark.parametrize(("subject", "check"), parameters(what, expected_failed_checks))


def parameters(what: Any, expected: Expected | None = None) -> list[Any]:
    """The parameters of such a test."""
    import pytest

    return [
        pytest.param(
            subject,
            check,
            id=f"{subject.name}-{check.name}",
            marks=[pytest.mark.xfail(reason=reason, strict=True)] if reason else [],
        )
        for subject, check, reason in cases(subjects(what), expected)
    ]
