"""The licence of a new pack: an SPDX expression that its metadata and its specs repeat, and a text."""

from __future__ import annotations

from pathlib import Path

from optim_core.catalog import spdx
from optim_core.names import did_you_mean
from optim_core.scaffold.errors import PackageMissing, ScaffoldError
from optim_core.text import one_line

#: Full texts; of other licences the address is given.
_TEXTS = Path(__file__).with_name("templates") / "licenses"


def checked(expression: str) -> str:
    """An SPDX expression in the spelling of the SPDX list, which is how an installed distribution repeats it.

    Raises:
        ScaffoldError: it names a licence that is not on the list, or cannot be taken apart.
        PackageMissing: the list is not installed.

    Example:
        >>> checked("mit or apache-2.0"), checked("LicenseRef-Acme")
        ('MIT OR Apache-2.0', 'LicenseRef-Acme')
    """
    parser = spdx.parser()
    if parser is None:
        raise PackageMissing(f"licences cannot be checked without license-expression: {spdx.INSTALL}")
    import license_expression  # type: ignore[import-untyped]

    try:
        parsed = parser.parse(expression)
    except license_expression.ExpressionError:
        parsed = None
    if parsed is None:
        raise ScaffoldError(
            f"{one_line(expression)!r} is no SPDX expression: such as 'MIT', 'Apache-2.0' or 'MIT OR Apache-2.0'"
        )
    for licence in parser.license_symbols(parsed, decompose=False):
        if not spdx.is_known(str(licence)):
            near = did_you_mean(str(licence), spdx.known_identifiers())
            raise ScaffoldError(
                f"{one_line(str(licence))!r} is not on the SPDX list (https://spdx.org/licenses).{near} A licence of "
                "your own is written 'LicenseRef-NAME'"
            )
    return str(parsed)


def text_of(expression: str, *, holder: str, year: int) -> str:
    """The file LICENSE.

    Args:
        expression: an SPDX expression.
        holder: who has the copyright.
        year: since when.

    Returns:
        The licence's text where it is at hand, otherwise who has the copyright and where the text is found.
    """
    path = _TEXTS / f"{expression}.txt"
    if path.is_file():
        return path.read_text(encoding="utf-8").replace("<year>", str(year)).replace("<holder>", holder)
    return (
        f"Copyright (c) {year} {holder}\n\nSPDX-License-Identifier: {expression}\n\n"
        "Put the text of the licence here before you publish: https://spdx.org/licenses\n"
    )
