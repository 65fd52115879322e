"""Targets: classes and functions written as ``module:Name``, so that a text can name them without importing them."""

from __future__ import annotations

import importlib
import re
from typing import Any

_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_target(text: str) -> bool:
    """Return whether a text has the form ``module:Name``; nothing is imported.

    Example:
        >>> is_target("acme.lion:Lion"), is_target("acme.lion.Lion")
        (True, False)
    """
    return _TARGET.fullmatch(text) is not None


def import_target(target: str) -> Any:
    """Import the class or function that a target names.

    Raises:
        ImportError: the module cannot be imported.
        AttributeError: the module does not define the name.

    Example:
        >>> import_target("math:prod")((2, 3))
        6
    """
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)
