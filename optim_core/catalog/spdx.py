"""SPDX: which licence identifiers exist, which mean the same, and what an expression asks for.

``license-expression`` knows all identifiers and takes expressions apart. Without it, common identifiers are known, and
whatever else there is counts as unknown, never as harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

#: The command that installs the list and the parser.
INSTALL = 'pip install "optim-core[licenses]"'

#: What is known without the list.
_COMMON: list[str] = """
    0BSD AFL-3.0 AGPL-3.0-only AGPL-3.0-or-later Apache-1.1 Apache-2.0 Artistic-2.0 BSD-1-Clause BSD-2-Clause
    BSD-2-Clause-Patent BSD-3-Clause BSD-3-Clause-Clear BSD-4-Clause BSL-1.0 BUSL-1.1 CC-BY-3.0 CC-BY-4.0 CC-BY-NC-3.0
    CC-BY-NC-4.0 CC-BY-NC-ND-3.0 CC-BY-NC-ND-4.0 CC-BY-NC-SA-3.0 CC-BY-NC-SA-4.0 CC-BY-ND-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0
    CC0-1.0 CDDL-1.0 CDDL-1.1 CECILL-2.1 ECL-2.0 EPL-1.0 EPL-2.0 EUPL-1.1 EUPL-1.2 GPL-1.0-only GPL-1.0-or-later
    GPL-2.0-only GPL-2.0-or-later GPL-3.0-only GPL-3.0-or-later HPND ISC LGPL-2.0-only LGPL-2.0-or-later LGPL-2.1-only
    LGPL-2.1-or-later LGPL-3.0-only LGPL-3.0-or-later MIT MIT-0 MPL-1.1 MPL-2.0 MS-PL MS-RL MulanPSL-2.0 NCSA OSL-3.0
    PolyForm-Noncommercial-1.0.0 PolyForm-Small-Business-1.0.0 PSF-2.0 Python-2.0 SSPL-1.0 UPL-1.0 Unlicense W3C WTFPL
    Zlib
""".split()  # noqa: SIM905 - a paragraph reads better than a line for each
_COMMON_FORMS = frozenset(map(str.casefold, _COMMON))
#: What the GNU licences append to a version.
_ONLY, _OR_LATER = "-only", "-or-later"


class UndecidableError(Exception):
    """An expression cannot be taken apart, or there is nothing to do it with."""


@dataclass(frozen=True)
class License:
    """One licence, in a form in which two spellings of it are equal.

    Attributes:
        name: the identifier in lower case, without what tells of later versions.
        later: True if later versions will do as well (``-or-later``, ``+``).
        exception: what follows ``WITH``, in lower case.
    """

    name: str
    later: bool = False
    exception: str = ""

    def offers(self, other: License) -> bool:
        """Return whether whoever has this licence may choose the other one, which is a version of it."""
        return (self.name, self.exception) == (other.name, other.exception) and (self.later or not other.later)


def license_of(text: str) -> License:
    """One licence from its SPDX form.

    Example:
        >>> license_of("GPL-3.0+") == license_of("gpl-3.0-OR-later")
        True
        >>> license_of("GPL-2.0-only WITH Classpath-exception-2.0")
        License(name='gpl-2.0', later=False, exception='classpath-exception-2.0')
    """
    identifier, _, exception = (part.strip() for part in text.casefold().partition(" with "))
    for ending in ("+", _OR_LATER):
        if identifier.endswith(ending):
            return License(identifier.removesuffix(ending), later=True, exception=exception)
    return License(identifier.removesuffix(_ONLY), exception=exception)


def is_known(text: str) -> bool:
    """Return whether one licence, with or without an exception, is on the list, or is one of somebody's own.

    Example:
        >>> [is_known(text) for text in ("mit", "GPL-3.0+", "GPL", "CC-BY-NC-SA", "LicenseRef-Acme")]
        [True, True, False, False, True]
    """
    stated = license_of(text)
    return _is_listed(stated.name) and (not stated.exception or stated.exception in _exceptions())


def known_identifiers() -> Iterable[str]:
    """The identifiers that are known here."""
    spdx = parser()
    return _COMMON if spdx is None else [key for key, symbol in spdx.known_symbols.items() if not symbol.is_exception]


def is_same(expression: str, other: str) -> bool:
    """Return whether two expressions say the same, whatever the case and the order of their parts."""
    if expression.casefold() == other.casefold():
        return True
    spdx = None if is_one_identifier(expression) else parser()
    if spdx is None:
        return False
    import license_expression  # type: ignore[import-untyped]

    try:
        return bool(spdx.is_equivalent(expression, other))
    except license_expression.ExpressionError:
        return False


def is_satisfied(expression: str, permits: Callable[[tuple[str, ...]], bool]) -> bool:
    """Return whether an expression is satisfied.

    Args:
        expression: an SPDX expression.
        permits: judges one licence in it by its spellings: alone, or also with its exception.

    Raises:
        UndecidableError: it cannot be taken apart.
    """
    if is_one_identifier(expression):
        return permits((expression,))
    spdx = parser() if expression else None
    if spdx is None:
        raise UndecidableError(expression)
    import license_expression

    def satisfied(node: Any) -> bool:
        if isinstance(node, license_expression.LicenseWithExceptionSymbol):
            return permits((node.license_symbol.key, f"{node.license_symbol.key} WITH {node.exception_symbol.key}"))
        if isinstance(node, license_expression.LicenseSymbol):
            return permits((node.key,))
        combine = any if isinstance(node, spdx.OR) else all
        return combine(satisfied(argument) for argument in node.args)

    try:
        return satisfied(spdx.parse(expression))
    except license_expression.ExpressionError as cause:
        raise UndecidableError(expression) from cause


def is_one_identifier(expression: str) -> bool:
    """Return whether an expression is an identifier alone, so that no parser is needed."""
    return bool(expression) and not any(c.isspace() or c in "()" for c in expression)


@cache
def parser() -> Any:
    """The list and parser of SPDX licences, or None where ``license-expression`` is not installed."""
    try:
        from license_expression import get_spdx_licensing
    except ImportError:
        return None
    return get_spdx_licensing()


def _is_listed(name: str) -> bool:
    """Whether a licence is on the list; those of GNU stand there with an ending only."""
    if name.startswith(("licenseref-", "documentref-")):
        return True
    forms = {name, name + _ONLY, name + _OR_LATER}
    return bool(forms & _COMMON_FORMS) or (parser() is not None and bool(forms & _listed(exceptions=False)))


def _exceptions() -> frozenset[str]:
    return frozenset() if parser() is None else _listed(exceptions=True)


@cache
def _listed(*, exceptions: bool) -> frozenset[str]:
    symbols = parser().known_symbols.items()
    return frozenset(key.casefold() for key, symbol in symbols if bool(symbol.is_exception) is exceptions)
