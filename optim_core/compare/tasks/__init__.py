"""The tasks that need no download. Each module holds one function that returns a `Task`."""

from __future__ import annotations

BUILT_IN = {
    "digits": "optim_core.compare.tasks.digits:digits",
    "chars": "optim_core.compare.tasks.chars:chars",
}
