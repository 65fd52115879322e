"""Comparing names, and suggesting near ones."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

#: Letters and digits that look or sound alike, each as one of them.
_ALIKE = str.maketrans("wmi1l0zkq", "vnjjjoscc")

__all__ = ["did_you_mean", "nearest", "normalise"]

#: In the name of a tensor that a wrapper keeps: it has a shape of its own, and not its parameter's.
OWN_SHAPE = "@"


def normalise(name: str) -> str:
    """The form in which names are compared: lower case, without ``-``, ``_``, ``.`` and spaces.

    Example:
        >>> normalise("Explore-Exploit")
        'exploreexploit'
    """
    # by far the most frequent call where many methods are installed; a regular expression takes five times as long
    return name.lower().replace("_", "").replace("-", "").replace(".", "").replace(" ", "")


def nearest(name: str, candidates: Iterable[str]) -> list[str]:
    """Up to three candidates that a misspelt name may have meant, by :func:`edit_distance`, nearest first.

    Among equally near ones those come first in which a doubled letter, or one that looks or sounds alike, makes the
    difference; then those of the same length.

    Example:
        >>> nearest("lerning_rate", ["lr", "learning_rate"])
        ['learning_rate']
        >>> nearest("adamv", ["adam", "adamp", "adamw"])
        ['adamw', 'adamp', 'adam']
    """
    meant = normalise(name)
    by_form = {normalise(c): c for c in candidates}
    distances = {form: edit_distance(meant, form) for form in by_form if _is_near(meant, form)}
    ranked = sorted(distances, key=lambda form: (distances[form], -_ease(meant, form), abs(len(form) - len(meant))))
    return [by_form[form] for form in ranked[:3]]


def edit_distance(a: str, b: str) -> int:
    """How many letters to insert, drop, replace or swap with their neighbours to get from one word to the other.

    The optimal string alignment of Damerau and Levenshtein: no part of a word is edited twice.

    Example:
        >>> edit_distance("adamv", "adamw"), edit_distance("lino", "lion"), edit_distance("", "sgd")
        (1, 1, 3)
    """
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a):
        new = [i + 1]
        for j, y in enumerate(b):
            new.append(min(row[j + 1] + 1, new[j] + 1, row[j] + (x != y)))
            if i and j and x == b[j - 1] and y == a[i - 1]:
                new[-1] = min(new[-1], before[j - 1] + 1)
        before, row = row, new
    return row[-1]


def _is_near(meant: str, form: str) -> bool:
    longer = max(len(meant), len(form))
    if longer < 3:
        return meant == form
    return edit_distance(meant, form) <= 1 or difflib.SequenceMatcher(None, meant, form).ratio() >= 0.7


def _ease(meant: str, form: str) -> bool:
    """Whether two words become one when doubled letters are single and letters that look or sound alike are one."""
    return re.sub(r"(.)\1+", r"\1", meant).translate(_ALIKE) == re.sub(r"(.)\1+", r"\1", form).translate(_ALIKE)


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """`` Did you mean 'x' or 'y'?``, to append to a message; empty if nothing is near.

    Example:
        >>> "no option 'betta'." + did_you_mean("betta", ["lr", "beta"])
        "no option 'betta'. Did you mean 'beta'?"
    """
    near = nearest(name, candidates)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
