"""The golden trajectories: what is recorded, read once."""

from __future__ import annotations

import functools
import json
from typing import Any

from support import GOLDEN


@functools.cache
def cases() -> list[tuple[str, dict[str, Any]]]:
    """The name of a method, and one of its cases, for all that there are."""
    files = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(GOLDEN.glob("*.json"))]
    return [(golden["optimizer"], case) for golden in files for case in golden["cases"]]
