"""What a new pack cannot be made of."""

from __future__ import annotations

from optim_core.errors import OptimCoreError


class ScaffoldError(OptimCoreError):
    """A pack that cannot be rendered as it was asked for; nothing has been written."""


class PackageMissing(ScaffoldError):
    """A package that new packs are rendered with is not installed."""
