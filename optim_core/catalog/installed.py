"""The installed packs as data: those that work, with their methods, those that are broken or switched off."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from optim_core.catalog import preferences
from optim_core.catalog.needs import Need
from optim_core.catalog.packs import DisabledPack, Failure, Origin, Pack
from optim_core.catalog.specs import KindName, Spec
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

    @property
    def cls(self) -> Any:
        """Its class, if that is at hand without an import; None if not."""
        return self.pack.classes.get(self.spec.name)


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

    def entries_at(self, cls: type, field: str) -> list[Entry]:
        """The methods of exactly this class whose specs fill a field."""
        if field not in self._filled:
            entries = [e for e in self.entries if getattr(e.spec, field, None)]
            self._filled[field] = [(*e.spec.target.split(":"), e) for e in entries]  # type: ignore[misc]
        return [e for module, name, e in self._filled[field] if e.cls is cls or _is_at(cls, module, name)]

    @cached_property
    def _filled(self) -> dict[str, list[tuple[str, str, Entry]]]:
        """Module, class and entry of each spec that fills a field, by the field."""
        return {}

    def nearest_entries(self, cls: type, field: str) -> list[Entry]:
        """The methods of a class, or of the nearest of its bases, whose specs fill a field."""
        return next(filter(None, (self.entries_at(base, field) for base in cls.__mro__)), [])

    def needs_of(self, cls: type) -> frozenset[Need]:
        """The needs that specs declare for a class, or for the nearest of its bases that they name."""
        return frozenset().union(*(e.spec.needs for e in self.nearest_entries(cls, "needs")))

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Every pack, whatever its state."""
        return (*self.packs, *self.failures, *self.disabled)

    def entries_in(self, pack: str) -> tuple[Entry, ...]:
        """The entries of the working pack of this name; empty if there is none."""
        forms = {p.name for p in self.packs if normalise(p.name) == normalise(pack)}
        return tuple(entry for entry in self.entries if entry.pack.name in forms)

    @cached_property
    def _by_name(self) -> Mapping[str, list[Entry]]:
        """The entries by the normal form of their names."""
        return _index((e.spec.name, e) for e in self.entries)

    @cached_property
    def _by_alias(self) -> Mapping[str, list[Entry]]:
        """The entries by the normal forms of their aliases."""
        return _index((alias, e) for e in self.entries for alias in e.spec.aliases)

    def claimants(self, name: str, kind: KindName | None = None, pack: str = "") -> list[Entry]:
        """The entries that a plain name stands for; more than one if it is ambiguous.

        A name in any pack wins over an alias in any other, except over an alias of a first-party pack: what
        ``get("sophia")`` means does not change without a word because of what is installed beside it.

        Args:
            name: the name or alias.
            kind: what it should be; None for anything.
            pack: the only one to search; empty for all.
        """
        form = normalise(name)

        def counts(e: Entry) -> bool:
            return kind in (None, e.spec.kind) and (not pack or normalise(e.pack.name) == normalise(pack))

        named = [e for e in self._by_name.get(form, ()) if counts(e)]
        also = [e for e in self._by_alias.get(form, ()) if counts(e)]
        return [*named, *(e for e in also if e.pack.is_first_party)] if named else also

    def preferred(self, claimants: Sequence[Entry]) -> tuple[Entry, str] | None:
        """The entry that a preference chooses among several, and where that is set; None if none does."""
        for full_name, source in preferences.in_force():
            pack, _, plain = full_name.rpartition(":")
            for entry in self.claimants(plain, pack=pack) if pack else ():
                if entry in claimants:
                    return entry, source
        return None

    def contested(self) -> list[tuple[str, list[Entry]]]:
        """Each plain name or alias that stands for methods of several packs, and these."""
        crowded = [forms for forms in {**self._by_alias, **self._by_name} if len(self._all_called(forms)) > 1]
        claims = [(form, self.claimants(form)) for form in crowded]
        return [(_spelling(form, entries), entries) for form, entries in claims if len(entries) > 1]

    def _all_called(self, form: str) -> list[Entry]:
        return [*self._by_name.get(form, ()), *self._by_alias.get(form, ())]


def _index(pairs: Iterable[tuple[str, Entry]]) -> dict[str, list[Entry]]:
    index: dict[str, list[Entry]] = {}
    for name, entry in pairs:
        index.setdefault(normalise(name), []).append(entry)
    return index


def _spelling(form: str, entries: Sequence[Entry]) -> str:
    """A name as the last of those that have it writes it."""
    spellings = [name for e in entries for name in (*e.spec.aliases, e.spec.name) if normalise(name) == form]
    return spellings[-1]


def _is_at(cls: type, module: str, name: str) -> bool:
    """Whether a class is the one that a target names, defined there or under that name; nothing is imported."""
    if (cls.__module__, cls.__qualname__) == (module, name):
        return True
    return module in sys.modules and vars(sys.modules[module]).get(name) is cls
