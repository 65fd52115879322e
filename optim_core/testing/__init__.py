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

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optim_core.testing.check import Check
    from optim_core.testing.parametrize import parametrize_with_checks
    from optim_core.testing.run import Outcome, Report, all_checks, check_optimizer, check_pack
    from optim_core.testing.subject import Subject
    from optim_core.testing.trajectories import against, record, replay

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

#: The module that each name is imported from when it is first used: pytest's plugin stands in this package, and is
#: loaded wherever the core is installed.
_HOMES = {
    "Check": "check",
    "Outcome": "run",
    "Report": "run",
    "Subject": "subject",
    "against": "trajectories",
    "all_checks": "run",
    "check_optimizer": "run",
    "check_pack": "run",
    "parametrize_with_checks": "parametrize",
    "record": "trajectories",
    "replay": "trajectories",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
