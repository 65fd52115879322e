"""docs/peers.py, which runs other libraries' optimizers beside ours."""

from __future__ import annotations

import functools
import importlib.util
from typing import Any

from support import ROOT


@functools.cache
def runner() -> Any:
    """The module."""
    found = importlib.util.spec_from_file_location("run_peers", ROOT / "docs" / "peers.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module
