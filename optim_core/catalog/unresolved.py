"""What to say when a name does not lead to a method: what is the matter, what is near, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from optim_core.catalog import known
from optim_core.catalog.discovery import DISABLE, TORCH, Disabled, Failure
from optim_core.catalog.specs import Kind, Spec
from optim_core.errors import (
    AmbiguousName,
    PackBroken,
    PackDisabled,
    PackNotInstalled,
    UnknownName,
    UnresolvedName,
    WrongKind,
)
from optim_core.names import did_you_mean, normalise

if TYPE_CHECKING:
    from optim_core.catalog.entry import Entry
    from optim_core.catalog.registry import Registry

#: The function that gives a class of a kind.
GETTERS: dict[Kind, str] = {"optimizer": "get", "scheduler": "get_scheduler", "wrapper": "get_wrapper"}
_ARTICLES: dict[Kind, str] = {"optimizer": "an optimizer", "scheduler": "a scheduler", "wrapper": "a wrapper"}


def ambiguous(name: str, hits: Sequence[Entry]) -> AmbiguousName:
    """Several packs claim a name."""
    packs = " and ".join(str(e.pack) for e in hits)
    full = " or ".join(repr(e.full_name) for e in hits)
    return AmbiguousName(f"{name!r} comes from {packs}. Ask for {full}")


def wrong_kind(name: str, spec: Spec, kind: Kind) -> WrongKind:
    """A name is of another kind than was asked for."""
    getter = f"optim_core.{GETTERS[spec.kind]}({name!r})"
    return WrongKind(f"{name!r} is {_ARTICLES[spec.kind]}, not {_ARTICLES[kind]}: {getter}")


def broken(failure: Failure, subject: str = "") -> PackBroken:
    """A pack does not work; ``subject``: what was wanted from it."""
    who = f"{subject!r} is in pack {failure}, which" if subject else f"pack {failure}"
    remedy = ""
    if failure.distribution and failure.stage in ("import", "hooks", "specs"):
        remedy = f". Reinstall it: pip install --upgrade --force-reinstall {failure.distribution}"
    error = PackBroken(f"{who} failed to load ({failure.reason}){remedy}")
    error.__cause__ = failure.cause
    return error


def disabled(off: Disabled, subject: str = "") -> PackDisabled:
    """A pack is switched off; ``subject``: what was wanted from it."""
    who = f"{subject!r} is in pack {off}, which" if subject else f"pack {off}"
    names = [name.strip() for name in off.value.split(",") if name.strip()]
    if off.variable == DISABLE:
        rest = ",".join(name for name in names if normalise(name) != normalise(off.name))
        remedy = f"Take it out: export {DISABLE}={rest}" if rest else f"Take it out: unset {DISABLE}"
    else:
        remedy = f"Add it: export {off.variable}={','.join([*names, off.name])}"
    return PackDisabled(f"{who} is switched off by {off.variable}={off.value}. {remedy}")


def unknown_pack(registry: Registry, pack: str) -> UnresolvedName:
    """There is no working pack of a name."""
    if normalise(pack) == TORCH:
        return UnknownName(
            f"torch's own classes have no spec: optim_core.get('{TORCH}:NAME') or get_scheduler give the class"
        )
    known_packs = {normalise(name): name for name in known.packs()}
    problem = _out_of_use(registry, pack)
    if problem is not None:
        return problem
    if normalise(pack) in known_packs:
        official = known_packs[normalise(pack)]
        return PackNotInstalled(f"the pack {official!r} is not installed: {known.install_command(official)}")
    near = did_you_mean(pack, [*known.packs(), *(p.name for p in registry.packs)])
    installed = ", ".join(p.name for p in registry.packs) or "none"
    return UnknownName(f"no pack {pack!r}.{near} Installed: {installed}{_aside(registry)}")


def unknown(registry: Registry, name: str, kind: Kind | None, pack: str) -> UnresolvedName:
    """No working pack has a name; ``pack``: where it was looked for, empty for everywhere."""
    first_party = known.lookup(name)
    if first_party is not None and normalise(pack) in ("", normalise(first_party.pack)):
        return _absent(registry, name, first_party)
    entries = registry.entries_of(pack) if pack else registry.entries
    candidates = [n for e in entries if kind in (None, e.spec.kind) for n in (e.spec.name, *e.spec.aliases)]
    near = did_you_mean(name, candidates if pack else [*candidates, *known.names(kind)])
    where = f" in pack {pack!r}" if pack else ""
    return UnknownName(
        f"no {kind or 'method'} {name!r}{where}.{near} "
        f"(`optim-core list` shows {len(registry.entries)}{_aside(registry)})"
    )


def _absent(registry: Registry, name: str, first_party: known.Known) -> UnresolvedName:
    """Why a method of ours is not there."""
    problem = _out_of_use(registry, first_party.pack, name)
    if problem is not None:
        return problem
    command = known.install_command(first_party.pack)
    if any(normalise(p.name) == normalise(first_party.pack) for p in registry.packs):
        command = command.replace("install", "install --upgrade", 1)
        return PackNotInstalled(f"{name!r} is in a newer {first_party.distribution} than the one installed: {command}")
    return PackNotInstalled(f"{name!r} is in {first_party.distribution}, which is not installed: {command}")


def _out_of_use(registry: Registry, pack: str, subject: str = "") -> UnresolvedName | None:
    """What is the matter with a pack that is installed and still not in use."""
    for failure in registry.failures:
        if normalise(failure.name) == normalise(pack):
            return broken(failure, subject)
    for off in registry.disabled:
        if normalise(off.name) == normalise(pack):
            return disabled(off, subject)
    return None


def _aside(registry: Registry) -> str:
    """A word on the packs that might have had it."""
    failed, off = len(registry.failures), len(registry.disabled)
    word = f"; {failed} pack{'s' if failed > 1 else ''} failed to load: `optim-core doctor`" if failed else ""
    if off:
        variables = " and ".join(sorted({d.variable for d in registry.disabled}))
        word += f"; {off} pack{'s are' if off > 1 else ' is'} switched off by {variables}"
    return word
