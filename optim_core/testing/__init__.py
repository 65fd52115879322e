"""The conformance kit: what an optimizer, a wrapper, a scheduler or a pack must do, as checks for anybody's tests.

In a test file of a pack::

    from optim_core.testing import parametrize_with_checks


    @parametrize_with_checks("acme")
    def test_conformance(subject, check):
        check(subject)

Without a file: ``pytest --optim-core-pack acme``. In the shell: ``optim-core check --pack acme``. For a class that no
pack brings: ``check_optimizer(torch.optim.SGD, {"lr": 0.1})``.

Which checks are about a class follows from its spec and its declarations, never from its name. :func:`all_checks` lists
them, each with what it requires and a remedy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optim_core.testing.check import Check
from optim_core.testing.run import Outcome, Report, all_checks, check_optimizer, check_pack
from optim_core.testing.subject import Subject
from optim_core.testing.trajectories import against, record, replay

if TYPE_CHECKING:
    from optim_core.testing.parametrize import parametrize_with_checks

__all__ = [
    "Check",
    "Outcome",
    "Report",
    "Subject",
    "against",
    "all_checks",
    "check_optimizer",
    "check_pack",
    "parametrize_with_checks",
    "record",
    "replay",
]


def __getattr__(name: str) -> Any:
    if name != "parametrize_with_checks":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from optim_core.testing.parametrize import parametrize_with_checks  # imports pytest

    return parametrize_with_checks
