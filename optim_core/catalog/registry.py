"""The registry: every installed pack, every name in it, and the way from a name to a class."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache, partial
from types import MappingProxyType, ModuleType
from typing import Any

from optim_core.catalog import discovery, known, licenses, unresolved
from optim_core.catalog.additions import Addition
from optim_core.catalog.installed import Entry, Installed
from optim_core.catalog.kinds import KINDS
from optim_core.catalog.needs import NEEDS, Need
from optim_core.catalog.packs import LOCAL, Failure, Pack
from optim_core.catalog.settings import STRICT, notes
from optim_core.catalog.specs import KindName, Spec
from optim_core.catalog.strangers import contained
from optim_core.catalog.targets import import_target
from optim_core.errors import (
    AmbiguousName,
    InvalidOption,
    PackBroken,
    PackWarning,
    SettingWarning,
    SpecError,
    UnknownName,
    warn,
)
from optim_core.names import did_you_mean, normalise


class Registry(Installed):
    """All packs of this environment, read once, and their methods by name.

    Args:
        registered: packs that no entry point names: from the name to the manifest, or the manifest's module's name.
        local: the pack of what the program itself has registered.
    """

    def __init__(
        self, registered: Mapping[str, ModuleType | str] = MappingProxyType({}), local: Pack | None = None
    ) -> None:
        sources, failures, disabled = discovery.find_packs(registered)
        loaded = [discovery.load_pack(source) for source in sources]
        super().__init__(
            packs=(*(p for p in loaded if isinstance(p, Pack)), *([local] if local is not None else [])),
            failures=(*failures, *(f for f in loaded if isinstance(f, Failure))),
            disabled=tuple(disabled),
        )

    def with_local(self, local: Pack | None) -> Registry:
        """The same with another pack of what the program itself has registered."""
        other = object.__new__(Registry)
        packs = (*(p for p in self.packs if p.name != LOCAL), *([local] if local is not None else []))
        Installed.__init__(other, packs=packs, failures=self.failures, disabled=self.disabled)
        return other

    def entry(self, name: str, kind: KindName | None = None) -> Entry:
        """The one entry that a name stands for.

        Args:
            name: a name, an alias, or either behind ``pack:``.
            kind: what it should be; None for anything.

        Raises:
            UnresolvedName: one of its subclasses, whose text has the remedy.
        """
        pack, colon, plain = name.rpartition(":")
        if colon:
            self.check_pack(pack)
        for wanted in (kind, None):  # the kind asked for wins over the others
            found = self.claimants(plain, wanted, pack)
            chosen = self.preferred(found) if found and not colon else None
            if chosen is not None:
                found = [chosen[0]]
            elif not colon and found and not any(e.pack.is_first_party for e in found):
                unresolved.check_not_ours(self, plain, found)
            if len(found) > 1:
                raise unresolved.ambiguous(name, found)
            if found and kind is not None and found[0].spec.kind != kind:
                raise unresolved.wrong_kind(name, found[0].spec, kind)
            if found:
                return found[0]
        raise unresolved.unknown(self, plain, kind, pack)

    def spec(self, name: str, kind: KindName | None = None) -> Spec:
        """The spec that a name stands for; arguments and errors as for :meth:`entry`."""
        return self.entry(name, kind).spec

    def entries_of(self, pack: str) -> tuple[Entry, ...]:
        """The entries of one pack.

        Raises:
            UnresolvedName: there is no such pack, or it does not work.
        """
        self.check_pack(pack)
        return self.entries_in(pack)

    def check_pack(self, pack: str) -> None:
        """Refuse a pack that is not there.

        Raises:
            UnresolvedName: there is no such pack, or it does not work.
        """
        if all(normalise(p.name) != normalise(pack) for p in self.packs):
            raise unresolved.unknown_pack(self, pack)

    def find(
        self,
        pattern: str = "*",
        *,
        pack: str | None = None,
        license: str | None = None,  # noqa: A002 - what it is called everywhere
        needs: Need | Sequence[Need] = (),
        kind: KindName | None = None,
    ) -> list[Entry]:
        """The entries that meet every condition; arguments as for :func:`optim_core.find`."""
        needed = (needs,) if isinstance(needs, str) else tuple(needs)
        for need in needed:
            _check_choice("needs", need, NEEDS)
        if kind is not None:
            _check_choice("kind", kind, KINDS)
        matches = partial(matches_pattern, pattern=pattern)
        mentions = cache(partial(licenses.mentions, term=license or ""))
        return [
            e
            for e in (self.entries if pack is None else self.entries_of(pack))
            if kind in (None, e.spec.kind)
            and (pattern == "*" or any(map(matches, (e.spec.name, *e.spec.aliases))))
            and (license is None or mentions(e.spec.license))
            and set(needed) <= set(e.spec.needs)
        ]

    def addition(self, noun: str, name: str) -> tuple[Pack, Addition]:
        """What packs bring beside methods, by name.

        Args:
            noun: a key of :data:`optim_core.catalog.additions.ADDITIONS`.
            name: its name, or ``pack:name``.

        Raises:
            UnresolvedName: there is none, or several, or its pack does not work.
        """
        pack, _, plain = name.rpartition(":")
        if pack:
            self.check_pack(pack)
        all_of_sort = [(p, a) for p in self.packs for a in p.additions if a.noun == noun]
        found = [
            (p, a)
            for p, a in all_of_sort
            if normalise(a.name) == normalise(plain) and (not pack or normalise(p.name) == normalise(pack))
        ]
        if len(found) > 1:
            choices = " or ".join(f"'{p.name}:{a.name}'" for p, a in found)
            raise AmbiguousName(f"{name!r} comes from {' and '.join(str(p) for p, _ in found)}. Ask for {choices}")
        if not found:
            near = did_you_mean(plain, [a.name for _, a in all_of_sort])
            names = ", ".join(f"{p.name}:{a.name}" for p, a in all_of_sort) or "none"
            raise UnknownName(f"no {noun} {name!r} in any pack.{near} Installed: {names}")
        return found[0]

    def names(self, kind: KindName | None = None) -> list[str]:
        """The names of a kind, sorted; in full where several packs claim one."""
        return sorted(self._shortest(e, kind) for e in self.entries if kind in (None, e.spec.kind))

    def _shortest(self, entry: Entry, kind: KindName | None) -> str:
        """The plain name of a method, or the full one where that would mean another or nothing."""
        found = self.claimants(entry.spec.name, kind)
        if len(found) > 1:
            chosen = self.preferred(found)
            return entry.spec.name if chosen is not None and chosen[0] is entry else entry.full_name
        return entry.spec.name


def matches_pattern(name: str, pattern: str) -> bool:
    """Return whether a name matches a shell pattern; case, ``-``, ``_``, ``.`` and spaces do not count.

    Example:
        >>> [matches_pattern("explore_exploit", pattern) for pattern in ("Explore*", "*-exploit", "adam*")]
        [True, True, False]
    """
    return fnmatchcase(normalise(name), normalise(pattern))


def load_class(spec: Spec) -> Any:
    """Import the class (of a wrapper: the class or function) that a spec describes.

    Raises:
        PackBroken: its module cannot be imported, whatever it raises, or defines no such class.
    """
    for mine, cls in _local.values():
        if mine is spec:
            return cls
    package = re.split("[.:]", spec.target)[0]

    def broken(reason: str) -> PackBroken:
        return PackBroken(
            f"{spec.name!r} cannot be loaded from {spec.target}: {reason}. "
            f"Reinstall the distribution that holds {package}, or ask its authors"
        )

    with contained(broken):
        return import_target(spec.target)


def load_addition(pack: Pack, addition: Addition) -> Callable[..., Any]:
    """Import the function of an addition.

    Raises:
        PackBroken: it cannot be imported, whatever that raises, or is no function.
    """

    def broken(reason: str) -> PackBroken:
        return PackBroken(
            f"the {addition.noun} '{pack.name}:{addition.name}' cannot be loaded from {addition.target}: {reason}. "
            f"Reinstall {pack.label}, or ask its authors"
        )

    with contained(broken):
        function = import_target(addition.target)
    if not callable(function):
        raise broken("it is no function")
    return function  # type: ignore[no-any-return]


_registered: dict[str, ModuleType | str] = {}
#: What the program itself has registered: spec and class, by where the class is defined.
_local: dict[tuple[str, str], tuple[Spec, Any]] = {}
_registry: Registry | None = None
_told: set[str] = set()


def registry() -> Registry:
    """The registry of this process; built on the first call.

    Warns:
        PackWarning: a pack was skipped; once for each.
        SettingWarning: an environment variable names what does not exist; once for each.

    Raises:
        PackBroken: a pack is broken, and ``OPTIM_CORE_STRICT=1`` is set.
    """
    return _registry if _registry is not None else refresh()


def refresh() -> Registry:
    """Look for packs again, after an installation or a change of the environment variables."""
    global _registry  # noqa: PLW0603 - the one registry of the process
    importlib.invalidate_caches()
    before = {(f.name, f.reason) for f in _registry.failures} if _registry is not None else set()
    found = survey()
    if found.failures and os.environ.get(STRICT, "") not in ("", "0"):
        raise unresolved.broken(found.failures[0])
    _registry = found
    for note in notes(found):
        if note not in _told:
            _told.add(note)
            warn(note, SettingWarning)
    for failure in _registry.failures:
        if (failure.name, failure.reason) not in before:
            warn(str(unresolved.broken(failure)), PackWarning)
    return _registry


def survey() -> Registry:
    """Look for packs and keep nothing: those there are, also where ``OPTIM_CORE_STRICT`` does not accept them."""
    return Registry(_registered, _local_pack(_local))


def register_pack(name: str, manifest: ModuleType | str) -> None:
    """Add a pack that no entry point names: one in a checkout, or one made up in a test.

    Args:
        name: the pack's name.
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
    if any(normalise(name) == normalise(origin.name) for origin in registry().origins):
        raise SpecError(f"there is a pack {name!r} already. Register this one under another name")
    extended = Registry({**_registered, name: manifest}, _local_pack(_local))
    for failure in extended.failures:
        if failure.name == name:
            raise unresolved.broken(failure) from failure.cause
    _registered[name] = manifest
    _registry = extended


def register_class(spec: Spec, cls: Any) -> None:
    """Add a class of the program itself, without a pack; it replaces the one that was defined at the same place.

    Args:
        spec: of the method.
        cls: its class, or the function of a wrapper.

    Raises:
        SpecError: a first-party method, or another that is there, has its name or one of its aliases.
    """
    global _registry  # noqa: PLW0603 - the one registry of the process
    place = (cls.__module__, cls.__qualname__)
    others = {where: both for where, both in _local.items() if where != place}
    present = registry().with_local(_local_pack(others))
    for name in (spec.name, *spec.aliases):
        ours = known.lookup(name)
        if ours is not None:
            owner = f"the method {ours.name!r} of {ours.distribution}"
        else:
            claimants = present.claimants(name)
            if not claimants:
                continue
            owner = f"{claimants[0].full_name!r}"
        raise SpecError(f"the name {name!r} belongs to {owner}: give {cls.__name__} another, name='my_{spec.name}'")
    others[place] = spec, cls
    _local.clear()
    _local.update(others)
    _registry = present.with_local(_local_pack(_local))


def _local_pack(classes: Mapping[tuple[str, str], tuple[Spec, Any]]) -> Pack | None:
    """The pack of what the program itself has registered; None if there is nothing."""
    if not classes:
        return None
    by_name = {spec.name: cls for spec, cls in classes.values()}
    return Pack(name=LOCAL, specs=tuple(spec for spec, _ in classes.values()), classes=by_name)


def _check_choice(argument: str, value: str, choices: Iterable[str]) -> None:
    choices = tuple(choices)
    if value not in choices:
        raise InvalidOption(f"{argument}={value!r} is not one of {', '.join(choices)}.{did_you_mean(value, choices)}")
