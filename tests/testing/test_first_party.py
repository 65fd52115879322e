"""The first-party packs pass the kit: what is tested of every method, whichever pack it comes from.

Every method goes through a third of the checks here, and every check through a third of the methods; ``nox -s kit`` has
them all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from support import PACKS

from optim_core.catalog.registry import registry
from optim_core.testing.parametrize import parameters

# Packs of others may be installed too; they have tests of their own.
INSTALLED = [pack.name for pack in registry().packs if (PACKS / pack.name).is_dir()]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The classes are imported when tests are collected, not when this module is."""
    metafunc.parametrize(("subject", "check"), list(chosen()))


def chosen() -> Iterator[Any]:
    """Each subject with its checks, or every third of them: another third from subject to subject."""
    step = 1 if os.environ.get("OPTIM_CORE_KIT") == "all" else 3
    numbers: dict[str, int] = {}
    checks: dict[str, int] = {}
    for case in parameters(INSTALLED):
        subject, _, check = str(case.id).rpartition("-")
        number = numbers.setdefault(subject, len(numbers)) + checks.setdefault(check, len(checks))
        if number % step == 0:
            yield case


def test_conformance(subject: Any, check: Any) -> None:
    check(subject)
