"""Fixtures that several tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import importlib_metadata
import pytest
from support.fake_packs import Site

from optim_core.catalog import licenses, preferences
from optim_core.catalog import registry as registry_module
from optim_core.catalog.settings import VARIABLES


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that needs what is not there."""
    for mark in item.iter_markers("needs"):
        from support.requirements import obstacle  # imports torch

        if reason := obstacle(*mark.args):
            pytest.skip(reason)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An environment without packs, without a policy, in which nobody has been warned."""
    installed = Site(tmp_path)
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(importlib_metadata, "distributions", installed.distributions)
    monkeypatch.setattr(registry_module, "_registry", None)
    monkeypatch.setattr(registry_module, "_registered", {})
    monkeypatch.setattr(registry_module, "_local", {})
    monkeypatch.setattr(registry_module, "_told", set())
    monkeypatch.setattr(preferences, "_preferred", ())
    monkeypatch.setattr(licenses, "_policy", ())
    monkeypatch.setattr(licenses, "_warned", set())
    yield installed
    for name in [name for name in sys.modules if name.startswith("fake_")]:
        del sys.modules[name]
