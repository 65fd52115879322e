from __future__ import annotations

from pathlib import Path

import pytest
from support.built import core_site


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the core is installed from its wheel; copy it."""
    return core_site(tmp_path_factory.mktemp("core"))
