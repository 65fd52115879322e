"""The plugin for pytest: ``pytest --optim-core-pack acme`` checks a pack without any test file.

pytest loads it wherever the core is installed, so it imports nothing of the library before the option is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optim_core.testing.check import Check

_OPTION = "--optim-core-pack"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    group = parser.getgroup("optim-core")
    group.addoption(
        _OPTION,
        action="append",
        default=[],
        metavar="PACK",
        help="Check an installed pack of optimizers, a test for each method and check (may be repeated).",
    )


@pytest.hookimpl(tryfirst=True)  # type: ignore[untyped-decorator]
def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Add the checks of the packs to what was collected, before -k and -m choose among it."""
    for pack in session.config.getoption(_OPTION):
        items.extend(_items(session, pack))


def _items(session: pytest.Session, pack: str) -> Iterator[pytest.Item]:
    from optim_core.errors import OptimCoreError
    from optim_core.testing.run import cases
    from optim_core.testing.subject import subjects_of

    try:
        for subject, check, _ in cases(subjects_of(pack)):
            name = f"{subject.name}-{check.name}"
            yield CheckItem.from_parent(session, name=name, nodeid=f"{pack}::{name}", subject=subject, check=check)
    except OptimCoreError as error:
        raise pytest.UsageError(f"{_OPTION}: {error}") from error


class CheckItem(pytest.Item):  # type: ignore[misc]
    """One check of one subject as a test."""

    def __init__(self, *, subject: Any, check: Check, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.subject = subject
        self.check = check

    def runtest(self) -> None:
        """Run the check."""
        self.check(self.subject)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show the text of a failed check, which says it all."""
        from optim_core.errors import ConformanceError

        if isinstance(excinfo.value, ConformanceError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Where the check is written."""
        code = self.check.function.__code__
        return code.co_filename, code.co_firstlineno, self.name
