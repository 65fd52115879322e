"""The error for a name that does not lead to a method: what is wrong, which names are near, what to do."""

from __future__ import annotations

from collections.abc import Sequence

from optim_core.catalog import known
from optim_core.catalog.installed import Entry, Installed
from optim_core.catalog.kinds import KINDS
from optim_core.catalog.packs import DISABLE, TORCH, DisabledPack, Failure
from optim_core.catalog.preferences import PREFER
from optim_core.catalog.specs import KindName, Spec
from optim_core.errors import (
    AmbiguousName,
    PackBroken,
    PackDisabled,
    PackNotInstalled,
    UnknownName,
    UnresolvedName,
    WrongKind,
)
from optim_core.habits import composed_hint
from optim_core.names import did_you_mean, normalise
from optim_core.text import counted


def ambiguous(name: str, claimants: Sequence[Entry]) -> AmbiguousName:
    """Several packs claim a name."""
    packs = " and ".join(str(e.pack) for e in claimants)
    full_names = " or ".join(repr(e.full_name) for e in claimants)
    for_good = claimants[0].full_name
    return AmbiguousName(
        f"{name!r} comes from {packs}. Ask for {full_names}; or say which one it means, "
        f"export {PREFER}={for_good} or optim_core.prefer({for_good!r})"
    )


def check_not_ours(installed: Installed, name: str, claimants: Sequence[Entry]) -> None:
    """Refuse a first-party method's name that only others have, because our pack is broken.

    Raises:
        PackBroken: with the others' full names.
    """
    ours = known.lookup(name)
    for failure in installed.failures:
        if failure.is_first_party and ours is not None and normalise(failure.name) == normalise(ours.pack):
            others = " or ".join(repr(e.full_name) for e in claimants)
            error = broken(failure, name)
            raise PackBroken(f"{error}. Of other packs there is {others}") from failure.cause


def wrong_kind(name: str, spec: Spec, kind: KindName) -> WrongKind:
    """A name is of another kind than was asked for."""
    actual = KINDS[spec.kind]
    return WrongKind(f"{name!r} is {actual.phrase}, not {KINDS[kind].phrase}: optim_core.{actual.getter}({name!r})")


def broken(failure: Failure, method: str = "") -> PackBroken:
    """A pack does not work; ``method``: the name that was asked for, if one was."""
    remedy = ""
    if isinstance(failure.cause, ImportError) and str(failure.cause.name).partition(".")[0] == "optim_core":
        remedy = ". It may be made for a newer core: pip install --upgrade optim-core"
    elif failure.distribution and failure.stage in ("metadata", "import", "hooks", "specs"):
        remedy = f". Reinstall it: pip install --upgrade --force-reinstall {failure.distribution}"
    error = PackBroken(f"{_subject(failure, method)} failed to load ({failure.reason}){remedy}")
    error.__cause__ = failure.cause
    return error


def disabled(pack: DisabledPack, method: str = "") -> PackDisabled:
    """A pack is switched off; ``method``: the name that was asked for, if one was."""
    names = [name.strip() for name in pack.value.split(",") if name.strip()]
    if pack.variable == DISABLE:
        rest = ",".join(name for name in names if normalise(name) != normalise(pack.name))
        remedy = f"Take it out: export {DISABLE}={rest}" if rest else f"Take it out: unset {DISABLE}"
    else:
        remedy = f"Add it: export {pack.variable}={','.join([*names, pack.name])}"
    return PackDisabled(f"{_subject(pack, method)} is switched off by {pack.variable}={pack.value}. {remedy}")


def unknown_pack(installed: Installed, pack: str) -> UnresolvedName:
    """There is no working pack of this name."""
    if normalise(pack) == TORCH:
        return UnknownName(
            f"torch's own classes have no spec: optim_core.get('{TORCH}:NAME') or get_scheduler give the class"
        )
    problem = _problem(installed, pack)
    if problem is not None:
        return problem
    for official in known.packs():
        if normalise(official) == normalise(pack):
            return PackNotInstalled(f"the pack {official!r} is not installed: {known.install_command(official)}")
    near = did_you_mean(pack, [*known.packs(), *(p.name for p in installed.packs)])
    names = ", ".join(p.name for p in installed.packs) or "none"
    return UnknownName(f"no pack {pack!r}.{near} Installed: {names}{_other_packs(installed)}")


def unknown(installed: Installed, name: str, kind: KindName | None, pack: str) -> UnresolvedName:
    """No working pack has a name; ``pack``: the only one that was searched, empty for all."""
    first_party = known.lookup(name)
    if first_party is not None and normalise(pack) in ("", normalise(first_party.pack)):
        return _not_installed(installed, name, first_party)
    entries = installed.entries_in(pack) if pack else installed.entries
    candidates = [n for e in entries if kind in (None, e.spec.kind) for n in (e.spec.name, *e.spec.aliases)]
    known_names = {normalise(n) for n in (*candidates, *known.names("optimizer"))}
    composed = composed_hint(name, known_names.__contains__) if kind in (None, "optimizer") and not pack else ""
    near = composed or did_you_mean(name, candidates if pack else [*candidates, *known.names(kind)])
    where = f" in pack {pack!r}" if pack else ""
    return UnknownName(
        f"no {kind or 'method'} {name!r}{where}.{near} "
        f"(`optim-core list` shows {len(installed.entries)}{_other_packs(installed)})"
    )


def _subject(pack: Failure | DisabledPack, method: str) -> str:
    return f"{method!r} is in pack {pack}, which" if method else f"pack {pack}"


def _not_installed(installed: Installed, name: str, first_party: known.Known) -> UnresolvedName:
    """A first-party method is missing: its pack is broken, switched off, not installed or too old."""
    problem = _problem(installed, first_party.pack, name)
    if problem is not None:
        return problem
    command = known.install_command(first_party.pack)
    if any(normalise(p.name) == normalise(first_party.pack) for p in installed.packs):
        command = command.replace("install", "install --upgrade", 1)
        return PackNotInstalled(f"{name!r} is in a newer {first_party.distribution} than the one installed: {command}")
    return PackNotInstalled(f"{name!r} is in {first_party.distribution}, which is not installed: {command}")


def _problem(installed: Installed, pack: str, method: str = "") -> UnresolvedName | None:
    """The error for a pack that is installed, but broken or switched off; None for other packs."""
    for failure in installed.failures:
        if normalise(failure.name) == normalise(pack) and not failure.is_imitation:
            return broken(failure, method)
    for off in installed.disabled:
        if normalise(off.name) == normalise(pack) and not off.is_imitation:
            return disabled(off, method)
    return None


def _other_packs(installed: Installed) -> str:
    """A hint at the broken packs and those that are switched off, which may have had the name."""
    broken_packs, off = len(installed.failures), len(installed.disabled)
    hint = f"; {counted(broken_packs, 'pack')} failed to load: `optim-core doctor`" if broken_packs else ""
    if off:
        variables = " and ".join(sorted({d.variable for d in installed.disabled}))
        hint += f"; {counted(off, 'pack')} {'are' if off > 1 else 'is'} switched off by {variables}"
    return hint
