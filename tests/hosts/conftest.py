"""Tests against the hosts themselves: each is skipped where its host is not installed (`nox -s hosts` has all)."""

from __future__ import annotations

import pytest
from support.kinds import some_of_each


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kind" in metafunc.fixturenames:
        metafunc.parametrize("kind", some_of_each(), ids=lambda kind: f"{kind.spec.kind}-{kind.spec.name}")
