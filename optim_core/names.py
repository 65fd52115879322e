"""Comparing names, and suggesting near ones."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

__all__ = ["did_you_mean", "nearest", "normalise"]


def normalise(name: str) -> str:
    """The form in which names are compared: lower case, without ``-``, ``_``, ``.`` and spaces.

    Example:
        >>> normalise("Explore-Exploit")
        'exploreexploit'
    """
    return re.sub(r"[-_. ]", "", name.lower())


def nearest(name: str, candidates: Iterable[str]) -> list[str]:
    """Up to three candidates that a misspelt name may have meant, nearest first.

    Example:
        >>> nearest("lerning_rate", ["lr", "learning_rate"])
        ['learning_rate']
    """
    by_form = {normalise(c): c for c in candidates}
    return [by_form[n] for n in difflib.get_close_matches(normalise(name), by_form, n=3, cutoff=0.7)]


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """`` Did you mean 'x' or 'y'?``, to append to a message; empty if nothing is near.

    Example:
        >>> "no option 'betta'." + did_you_mean("betta", ["lr", "beta"])
        "no option 'betta'. Did you mean 'beta'?"
    """
    near = nearest(name, candidates)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
