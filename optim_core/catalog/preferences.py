"""Which pack is meant where several claim one name: the choice of whoever runs the program.

A preference is a full name, ``pack:name``. It decides about that method's names where they would be ambiguous, and
about nothing else. It can be set in Python by :func:`optim_core.prefer` and in the environment by
``OPTIM_CORE_PREFER`` (comma-separated); Python's come first, then the environment's, each in its order.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

#: The environment variable that settles contested names.
PREFER = "OPTIM_CORE_PREFER"

_preferred: tuple[str, ...] = ()


def in_force() -> tuple[tuple[str, str], ...]:
    """The preferences, the strongest first, each with the place where it was set."""
    return (*((name, "prefer") for name in _preferred), *((name, PREFER) for name in in_environment()))


def in_environment() -> tuple[str, ...]:
    """Those of the environment, as they are written there."""
    return tuple(name.strip() for name in os.environ.get(PREFER, "").split(",") if name.strip())


def set_preferences(full_names: Sequence[str]) -> None:
    """Replace those of this process."""
    global _preferred  # noqa: PLW0603 - the one list of the process
    _preferred = tuple(full_names)
