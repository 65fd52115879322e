"""How amounts are written for people."""

from __future__ import annotations

import re
from typing import Any

#: Characters of a strange text that are shown.
_LONGEST = 1000
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def byte_size(count: float) -> str:
    """An amount of memory with its unit, a power of 1024.

    Example:
        >>> byte_size(512), byte_size(34_108), byte_size(3 * 2**30), byte_size(200 * 2**20)
        ('512 B', '33.3 KiB', '3.0 GiB', '200 MiB')
    """
    power = 0
    while count >= 1024 and power < len(_UNITS) - 1:
        count, power = count / 1024, power + 1
    digits = 0 if power == 0 or count >= 100 else 1
    return f"{count:.{digits}f} {_UNITS[power]}"


def counted(count: int, noun: str) -> str:
    """A number of things, with the noun in the singular or plural.

    Example:
        >>> counted(1, "pack"), counted(2, "pack")
        ('1 pack', '2 packs')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def one_line(text: str) -> str:
    r"""A text of unknown origin in one printable line: what moves the cursor, breaks lines or hides is escaped.

    Example:
        >>> one_line("fine\nproblem: forged \x1b[2K")
        'fine\\nproblem: forged \\x1b[2K'
    """
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown)


def literal(value: Any) -> str:
    """A value as it would be typed: ``1e9`` rather than ``1000000000.0``, ``1e-8`` rather than ``1e-08``.

    Example:
        >>> literal(1e9), literal(0.0), literal((0.9, 1e-08)), literal(None), literal("up")
        ('1e9', '0.0', '(0.9, 1e-8)', 'None', "'up'")
    """
    if isinstance(value, tuple) and type(value) is tuple:
        return f"({', '.join(map(literal, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if not isinstance(value, float):
        return repr(value)
    written = [repr(value), *(text for text in (f"{value:.{n}e}" for n in range(17)) if float(text) == value)]
    plain, *scientific = (re.sub(r"e([+-])0*(\d)", lambda e: f"e{e[1].strip('+')}{e[2]}", text) for text in written)
    return next((text for text in scientific if len(text) + 2 < len(plain)), plain)
