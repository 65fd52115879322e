"""The first-party packs pass the kit: what is tested of every method, whichever pack it comes from."""

from __future__ import annotations

from typing import Any

import pytest
from support import PACKS

from optim_core.catalog.registry import registry
from optim_core.testing.parametrize import parameters

# Packs of others may be installed too; they have tests of their own.
INSTALLED = [pack.name for pack in registry().packs if (PACKS / pack.name).is_dir()]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The classes are imported when tests are collected, not when this module is."""
    metafunc.parametrize(("subject", "check"), parameters(INSTALLED))


def test_conformance(subject: Any, check: Any) -> None:
    check(subject)
