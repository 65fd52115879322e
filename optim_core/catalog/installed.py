"""The installed packs as data: those that work, with their methods, those that are broken or switched off."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from optim_core.catalog.packs import DisabledPack, Failure, Origin, Pack
from optim_core.catalog.specs import Spec
from optim_core.names import normalise


@dataclass(frozen=True)
class Entry:
    """A spec and the pack that brings it."""

    pack: Pack
    spec: Spec

    @property
    def full_name(self) -> str:
        """The form that is never ambiguous: ``pack:name``."""
        return f"{self.pack.name}:{self.spec.name}"


@dataclass(frozen=True)
class Installed:
    """Every pack of an environment.

    Attributes:
        packs: those that work.
        failures: those that were skipped, with the reason.
        disabled: those that an environment variable switches off.
    """

    packs: tuple[Pack, ...]
    failures: tuple[Failure, ...]
    disabled: tuple[DisabledPack, ...]

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """Every spec of a working pack, with its pack."""
        return tuple(Entry(pack, spec) for pack in self.packs for spec in pack.specs)

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Every pack, whatever its state."""
        return (*self.packs, *self.failures, *self.disabled)

    def entries_in(self, pack: str) -> tuple[Entry, ...]:
        """The entries of the working pack of this name; empty if there is none."""
        return tuple(entry for entry in self.entries if normalise(entry.pack.name) == normalise(pack))

    def contested(self) -> list[list[Entry]]:
        """The entries that share a plain name with an entry of another pack, name by name."""
        by_name: dict[str, list[Entry]] = {}
        for entry in self.entries:
            by_name.setdefault(normalise(entry.spec.name), []).append(entry)
        return [claimants for claimants in by_name.values() if len(claimants) > 1]
