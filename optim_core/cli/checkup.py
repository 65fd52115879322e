"""What `optim-core doctor` finds, as data."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import importlib_metadata

from optim_core import __version__
from optim_core.catalog import licenses, requirements, resolving, settings, spdx, unresolved
from optim_core.catalog.additions import Addition
from optim_core.catalog.installed import Entry, Installed
from optim_core.catalog.packs import DISABLE, DisabledPack, Failure, Origin, Pack
from optim_core.catalog.registry import Registry, load_addition
from optim_core.errors import PolicyError
from optim_core.names import normalise
from optim_core.text import counted, one_line

REQUIRED = ("torch", "pluggy", "importlib-metadata")
#: The packages of each extra.
EXTRAS = {
    "cli": ("click", "rich", "license-expression", "packaging"),
    "compare": ("filelock", "jinja2", "matplotlib", "scikit-learn"),
    "scaffold": ("jinja2",),
}


@dataclass(frozen=True)
class Extra:
    """An addition and the pack that brings it, named and loaded as methods are."""

    pack: Pack
    spec: Addition
    cls: None = None

    @property
    def full_name(self) -> str:
        """Pack and name."""
        return f"{self.pack.name}:{self.spec.name}"


@dataclass(frozen=True, kw_only=True)
class Checkup:
    """What was looked at, and what was found.

    Attributes:
        installed: all packs.
        looked_at: those that the checkup is about.
        notes: what may be a mistake, and what is switched off.
        problems: what is broken, each with its remedy.
        imports: of the methods, if they were imported.
    """

    installed: Installed
    looked_at: tuple[Origin, ...]
    notes: list[str]
    problems: list[str]
    imports: list[resolving.Resolved] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "optim_core": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(terse=True),
            "packages": [dict(zip(("name", "version", "for"), row, strict=True)) for row in packages()],
            "packs": [_pack_dict(origin) for origin in self.looked_at],
            "settings": settings_in_force(),
            "imports": [
                {"name": r.entry.full_name, "target": r.entry.spec.target, "seconds": r.seconds, "problem": r.problem}
                for r in self.imports
            ],
            "notes": self.notes,
            "problems": self.problems,
        }


def examine(installed: Registry, *, deep: bool = False, pack: str = "") -> Checkup:
    """Look at an installation.

    Args:
        installed: its packs.
        deep: import every method, and read what distributions ask for.
        pack: the only one to look at; empty for all.

    Raises:
        UnresolvedName: there is no such pack.
    """
    origins = tuple(o for o in installed.origins if not pack or normalise(o.name) == normalise(pack))
    if not origins:
        raise unresolved.unknown_pack(installed, pack)
    names = {origin.name for origin in origins}
    entries = [entry for entry in installed.entries if entry.pack.name in names]
    others = [Extra(p, a) for p in installed.packs if p.name in names for a in p.additions]
    notes, problems = [*_notes(installed, entries, pack)], [*_problems(installed, origins, entries, pack)]
    imports = resolving.imported([*entries, *others], _load) if deep else resolving.looked_at([*entries, *others])
    problems += [_dead(resolved) for resolved in imports if resolved.problem]
    if deep:
        notes += _switched_off(installed, entries)
        problems += [*_requirements(origins), *(_near_misses() if not pack else ())]
    return Checkup(
        installed=installed,
        looked_at=origins,
        notes=[one_line(note) for note in notes],
        problems=[one_line(problem) for problem in problems],
        imports=imports if deep else [],
    )


def packages() -> Iterator[tuple[str, str, str]]:
    """Name, version and purpose of each package that the library uses."""
    for name in REQUIRED:
        yield name, _version(name) or "missing", "everything"
    for extra, names in EXTRAS.items():
        for name in names:
            yield name, _version(name) or "-", f"optim-core[{extra}]"


def state_of(origin: Origin) -> str:
    """What is the matter with a pack, in a few words."""
    if isinstance(origin, Failure):
        return f"broken ({origin.stage})"
    if isinstance(origin, DisabledPack):
        return f"off ({origin.variable})"
    return counted(len(origin.specs), "method") if isinstance(origin, Pack) else ""


def settings_in_force() -> dict[str, str]:
    """The environment variables of the library that are set."""
    return {name: one_line(os.environ[name]) for name in settings.VARIABLES if name in os.environ}


def _pack_dict(origin: Origin) -> dict[str, Any]:
    facts = {key: getattr(origin, key) for key in ("name", "distribution", "version", "license")}
    works = isinstance(origin, Pack)
    return {
        **facts,
        "state": "works" if works else "broken" if isinstance(origin, Failure) else "off",
        "methods": len(origin.specs) if isinstance(origin, Pack) else 0,
        "seconds": round(origin.seconds, 4) if isinstance(origin, Pack) else None,
        "why": "" if works else state_of(origin),
    }


def _notes(installed: Installed, entries: list[Entry], pack: str) -> Iterator[str]:
    """Settings that may be mistakes."""
    if not installed.packs:
        yield 'no pack works. All permissively licensed ones: pip install "optim-core[all]"'
    yield from settings.notes(installed) if not pack else ()
    for name, claimants in _contested(installed, entries):
        chosen = installed.preferred(claimants)
        if chosen is not None:
            yield f"{name!r} means {chosen[0].full_name!r}, by {chosen[1]}"
        elif not any(entry.pack.is_first_party for entry in claimants):
            yield str(unresolved.ambiguous(name, claimants))
    for licence in dict.fromkeys(entry.spec.license for entry in entries):
        if spdx.parser() is not None and spdx.is_one_identifier(licence) and not spdx.is_known(licence):
            owners = ", ".join(dict.fromkeys(str(e.pack) for e in entries if e.spec.license == licence))
            yield f"{licence!r}, the licence of methods in {owners}, is not on SPDX's list: a policy cannot judge it"


def _problems(installed: Installed, origins: tuple[Origin, ...], entries: list[Entry], pack: str) -> Iterator[str]:
    """Requirements that are missing, packs that are broken or ill-behaved, our names that others claim, the policy."""
    for name in REQUIRED if not pack else ():
        if _version(name) is None:
            yield f"{name} is missing: pip install {name}"
    for origin in origins:
        if isinstance(origin, Failure):
            yield str(unresolved.broken(origin))
        for manner in origin.manners if isinstance(origin, Pack) else ():
            off = f"export {DISABLE}={origin.name}"
            yield f"the manifest of pack {origin} {manner}. Tell its authors, or switch it off: {off}"
    for name, claimants in _contested(installed, entries):
        if installed.preferred(claimants) is None and any(entry.pack.is_first_party for entry in claimants):
            yield str(unresolved.ambiguous(name, claimants))
    try:
        licenses.rules()
    except PolicyError as error:
        yield str(error)


def _contested(installed: Installed, entries: list[Entry]) -> list[tuple[str, list[Entry]]]:
    mine = set(map(id, entries))
    return [(name, claims) for name, claims in installed.contested() if any(id(e) in mine for e in claims)]


def _switched_off(installed: Installed, entries: list[Entry]) -> Iterator[str]:
    """Everything that is installed and cannot be used, and by what."""
    for off in installed.disabled:
        yield str(unresolved.disabled(off))
    try:
        rules = licenses.rules()
    except PolicyError:  # a problem already
        return
    for rule in rules:
        refused = [e.full_name for e in entries if not rule.permits(e.spec.license)]
        if refused:
            yield f"{counted(len(refused), 'method')} switched off by {rule}: {', '.join(refused[:5])}" + (
                " ..." if len(refused) > 5 else ""
            )
    engine = os.environ.get(settings.ENGINE, "auto")
    if engine in settings.ENGINES and engine != "auto":
        yield f"all engines but {engine!r} are switched off by {settings.ENGINE}"


def _requirements(origins: tuple[Origin, ...]) -> Iterator[str]:
    if _version("packaging") is None:
        yield 'what distributions ask for cannot be read without packaging: pip install "optim-core[cli]"'
        return
    for origin in origins:
        if isinstance(origin, Pack) and not (origin.specs or origin.additions):
            yield f"pack {origin} brings nothing: its hooks return nothing. Tell its authors"
        if isinstance(origin, Pack) and origin.distribution:
            for what in requirements.unmet(origin.distribution):
                yield f"pack {origin} asks for {what}: pip install --upgrade {origin.distribution}"


def _near_misses() -> Iterator[str]:
    for distribution, group in requirements.near_misses():
        yield (
            f"{distribution} has entry points in the group {group!r}, which nobody reads: tell its authors that the "
            "group of packs is 'optim_core.packs'"
        )


def _load(thing: resolving.Named) -> None:
    from optim_core.api import class_of  # imports torch

    if isinstance(thing, Entry):
        class_of(thing)
    elif isinstance(thing, Extra):
        load_addition(thing.pack, thing.spec)


def _dead(resolved: resolving.Resolved) -> str:
    entry = resolved.entry
    if resolved.seconds is not None:  # the error of the import, with its remedy
        return f"pack {entry.pack}: {resolved.problem}"
    remedy = f"pip install --upgrade --force-reinstall {entry.pack.distribution}" if entry.pack.distribution else ""
    return (
        f"{entry.full_name!r} of pack {entry.pack} is dead: {resolved.problem}"
        f"{f'. Reinstall it: {remedy}' if remedy else ''}"
    )


def _version(distribution: str) -> str | None:
    try:
        return importlib_metadata.version(distribution)
    except importlib_metadata.PackageNotFoundError:
        return None
