"""The registry: every installed pack, every name in it, and the way from a name to a class."""

from __future__ import annotations

import importlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from types import MappingProxyType, ModuleType
from typing import Any

from optim_core.catalog import discovery, licenses, unresolved
from optim_core.catalog.discovery import Disabled, Failure, Pack
from optim_core.catalog.entry import Entry
from optim_core.catalog.needs import NEEDS, Need
from optim_core.catalog.specs import KINDS, Kind, Spec
from optim_core.errors import InvalidOption, PackBroken, PackWarning, SpecError, warn
from optim_core.names import did_you_mean, normalise

STRICT = "OPTIM_CORE_STRICT"


class Registry:
    """All packs of this environment, read once.

    Args:
        registered: manifests, or names of their modules, of packs that no entry point names.

    Attributes:
        packs: those that work.
        failures: those set aside, with the reason.
        disabled: those that an environment variable switches off.
        entries: every spec with its pack.

    Raises:
        PackBroken: a pack is broken, and ``OPTIM_CORE_STRICT=1`` is set.
    """

    def __init__(self, registered: Mapping[str, ModuleType | str] = MappingProxyType({})) -> None:
        found, misnamed, disabled = discovery.sources(registered)
        loaded = [discovery.load(source) for source in found]
        self.packs: tuple[Pack, ...] = tuple(p for p in loaded if isinstance(p, Pack))
        self.failures: tuple[Failure, ...] = (*misnamed, *(f for f in loaded if isinstance(f, Failure)))
        self.disabled: tuple[Disabled, ...] = tuple(disabled)
        self.entries: tuple[Entry, ...] = tuple(Entry(pack, spec) for pack in self.packs for spec in pack.specs)
        if self.failures and os.environ.get(STRICT, "") not in ("", "0"):
            raise unresolved.broken(self.failures[0])

    def entry(self, name: str, kind: Kind | None = None) -> Entry:
        """The one entry that a name stands for.

        Args:
            name: a name, an alias, or either behind ``pack:``.
            kind: what it should be; None for anything.

        Raises:
            UnresolvedName: one of its subclasses, whose text has the remedy.
        """
        pack, colon, plain = name.rpartition(":")
        entries = self.entries_of(pack) if colon else self.entries
        # What was asked for wins over other kinds, and in each a name in any pack over an alias in any other.
        of_kind = [e for e in entries if kind in (None, e.spec.kind)]
        for candidates in (of_kind, entries):
            hits = [e for e in candidates if normalise(e.spec.name) == normalise(plain)]
            hits = hits or [e for e in candidates if normalise(plain) in map(normalise, e.spec.aliases)]
            if len(hits) > 1:
                raise unresolved.ambiguous(name, hits)
            if hits and kind is not None and hits[0].spec.kind != kind:
                raise unresolved.wrong_kind(name, hits[0].spec, kind)
            if hits:
                return hits[0]
        raise unresolved.unknown(self, plain, kind, pack)

    def spec(self, name: str, kind: Kind | None = None) -> Spec:
        """The spec that a name stands for; raises as :meth:`entry` does."""
        return self.entry(name, kind).spec

    def entries_of(self, pack: str) -> tuple[Entry, ...]:
        """The entries of one pack.

        Raises:
            UnresolvedName: there is no such pack, or it does not work.
        """
        if all(normalise(p.name) != normalise(pack) for p in self.packs):
            raise unresolved.unknown_pack(self, pack)
        return tuple(e for e in self.entries if normalise(e.pack.name) == normalise(pack))

    def find(
        self,
        pattern: str = "*",
        *,
        pack: str | None = None,
        license: str | None = None,  # noqa: A002 - what it is called everywhere
        needs: Need | Sequence[Need] = (),
        kind: Kind | None = None,
    ) -> list[Entry]:
        """The entries that meet every condition; arguments as for :func:`optim_core.find`."""
        needed = (needs,) if isinstance(needs, str) else tuple(needs)
        for need in needed:
            _check_choice("needs", need, NEEDS)
        if kind is not None:
            _check_choice("kind", kind, KINDS)
        return [
            e
            for e in (self.entries if pack is None else self.entries_of(pack))
            if kind in (None, e.spec.kind)
            and any(matches(name, pattern) for name in (e.spec.name, *e.spec.aliases))
            and (license is None or licenses.mentions(e.spec.license, license))
            and set(needed) <= set(e.spec.needs)
        ]

    def names(self, kind: Kind | None = None) -> list[str]:
        """The names of a kind, sorted; in full where several packs claim one."""
        entries = [e for e in self.entries if kind in (None, e.spec.kind)]
        claims = Counter(normalise(e.spec.name) for e in entries)
        return sorted(e.spec.name if claims[normalise(e.spec.name)] == 1 else e.full_name for e in entries)

    def contested(self) -> list[list[Entry]]:
        """The entries that share a plain name with an entry of another pack, name by name."""
        by_name: dict[str, list[Entry]] = {}
        for e in self.entries:
            by_name.setdefault(normalise(e.spec.name), []).append(e)
        return [hits for hits in by_name.values() if len(hits) > 1]


def matches(name: str, pattern: str) -> bool:
    """Whether a name fits a pattern of the shell's kind, compared as names are.

    Example:
        >>> [matches("explore_exploit", pattern) for pattern in ("Explore*", "*-exploit", "adam*")]
        [True, True, False]
    """
    return fnmatchcase(normalise(name), normalise(pattern))


def load(spec: Spec) -> Any:
    """Import the class that a spec describes.

    Raises:
        PackBroken: its module cannot be imported, or holds no such class.
    """
    module, _, name = spec.target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as cause:
        raise PackBroken(
            f"{spec.name!r} cannot be loaded from {spec.target}: {type(cause).__name__}: {cause}. "
            f"Reinstall the distribution that holds {module.partition('.')[0]}, or ask its authors"
        ) from cause


_registered: dict[str, ModuleType | str] = {}
_registry: Registry | None = None


def registry() -> Registry:
    """The registry of this process; built when first asked for.

    Warns:
        PackWarning: a pack is set aside; once for each.
    """
    return _registry if _registry is not None else refresh()


def refresh() -> Registry:
    """Look for packs again, after an installation or a change of the environment variables."""
    global _registry  # noqa: PLW0603 - the one registry of the process
    importlib.invalidate_caches()
    before = {(f.name, f.reason) for f in _registry.failures} if _registry is not None else set()
    _registry = Registry(_registered)
    for failure in _registry.failures:
        if (failure.name, failure.reason) not in before:
            warn(str(unresolved.broken(failure)), PackWarning)
    return _registry


def register_pack(name: str, manifest: ModuleType | str) -> None:
    """Add a pack that no entry point names: one in a checkout, or one made up in a test.

    Args:
        name: what the pack shall be called.
        manifest: its manifest, or the name of the manifest's module, which is then imported as an entry point's is.

    Raises:
        SpecError: another pack has the name.
        PackBroken: the pack does not work.

    Example:
        >>> register_pack("mine", "my_project.optimizers.pack")  # doctest: +SKIP
    """
    global _registry  # noqa: PLW0603 - the one registry of the process
    if _registered.get(name) == manifest:
        return
    current = registry()
    taken = (*current.packs, *current.failures, *current.disabled)
    if any(normalise(name) == normalise(origin.name) for origin in taken):
        raise SpecError(f"there is a pack {name!r} already. Register this one under another name")
    extended = Registry({**_registered, name: manifest})
    for failure in extended.failures:
        if failure.name == name:
            raise unresolved.broken(failure) from failure.cause
    _registered[name] = manifest
    _registry = extended


def _check_choice(argument: str, value: str, choices: Iterable[str]) -> None:
    choices = tuple(choices)
    if value not in choices:
        raise InvalidOption(f"{argument}={value!r} is not one of {', '.join(choices)}.{did_you_mean(value, choices)}")
