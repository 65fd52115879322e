"""Entry: a spec together with the pack that brings it."""

from __future__ import annotations

from dataclasses import dataclass

from optim_core.catalog.discovery import Pack
from optim_core.catalog.specs import Spec


@dataclass(frozen=True)
class Entry:
    """A spec and the pack that it comes from."""

    pack: Pack
    spec: Spec

    @property
    def full_name(self) -> str:
        """The form that is never ambiguous: ``pack:name``."""
        return f"{self.pack.name}:{self.spec.name}"
