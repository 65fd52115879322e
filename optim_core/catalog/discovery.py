"""Finding packs and loading their manifests: each on its own, so that a broken one breaks nothing else."""

from __future__ import annotations

import importlib
import os
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from types import ModuleType
from typing import Any, TypeVar

import importlib_metadata
import pluggy

from optim_core.catalog import hookspecs
from optim_core.catalog.additions import ADDITIONS, Addition
from optim_core.catalog.kinds import KINDS
from optim_core.catalog.packs import (
    DISABLE,
    LOCAL,
    ONLY,
    TORCH,
    DisabledPack,
    Failure,
    Origin,
    Pack,
    Source,
    Stage,
    distribution_of,
    first_party_name,
)
from optim_core.catalog.specs import Spec, TransformSpec
from optim_core.catalog.strangers import output_aside
from optim_core.errors import SpecError
from optim_core.names import normalise
from optim_core.text import one_line

GROUP = f"{hookspecs.PROJECT}.packs"

#: Seconds that a manifest may take; those of the first-party packs take hundredths.
_PATIENCE = 0.5
#: More specs than any pack has: a hook that yields without an end is stopped there.
_MOST_SPECS = 10_000

_Origin = TypeVar("_Origin", bound=Origin)
_Spec = TypeVar("_Spec", bound="Spec | Addition")


def specs_of_manifest(manifest: object, pack: str) -> tuple[Spec, ...]:
    """Call a manifest's hooks and return the specs, kind by kind.

    Args:
        manifest: the module (or object) with the hooks.
        pack: the pack's name.

    Raises:
        SpecError: a hook returns something else than its specs, or two specs clash.
        pluggy.PluginValidationError: the manifest implements a hook that does not exist.
        Exception: whatever the pack's hooks raise.
    """
    manager = _hooks_of(manifest, pack)
    hooks = [(kind.hook, kind.spec) for kind in KINDS.values()] + [("optim_core_transforms", TransformSpec)]
    specs = [spec for hook, cls in hooks for spec in _returned(manager, hook, cls)]
    _check_unique(specs)
    return tuple(specs)


def additions_of_manifest(manifest: object, pack: str) -> tuple[Addition, ...]:
    """Call a manifest's other hooks and return what they bring; errors as for :func:`specs_of_manifest`."""
    manager = _hooks_of(manifest, pack)
    by_sort = [list(_returned(manager, sort.hook, sort)) for sort in ADDITIONS.values()]
    for additions in by_sort:
        _check_unique(additions)
    return tuple(addition for additions in by_sort for addition in additions)


def _hooks_of(manifest: object, pack: str) -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(manifest, name=pack)
    manager.check_pending()
    if not manager.get_hookcallers(manifest):
        raise SpecError("it implements no hook: mark the manifest's functions with optim_core.catalog.hookimpl")
    return manager


def _returned(manager: pluggy.PluginManager, hook: str, cls: type[_Spec]) -> Iterator[_Spec]:
    """What a hook returns, spec by spec, if that is what it should."""
    # pluggy would call it, too, but it drops a None: a pack that has forgotten its `return` would seem empty
    for implementation in getattr(manager.hook, hook).get_hookimpls():
        returned = implementation.function()
        if not isinstance(returned, Iterable):
            raise SpecError(f"{hook}() returned {returned!r:.60}, not a list of {cls.__name__}")
        for position, spec in enumerate(returned):
            if type(spec) is not cls:
                raise SpecError(f"{hook}() returned {type(spec).__name__} {spec!r:.60}, not {cls.__name__}")
            if position == _MOST_SPECS:
                raise SpecError(f"{hook}() returned more than {_MOST_SPECS} specs: does it end?")
            yield spec


def load_pack(source: Source) -> Pack | Failure:
    """Import a pack's manifest and ask it for its specs; whatever goes wrong becomes a failure."""
    stage: Stage = "import"
    had_torch, start = "torch" in sys.modules, time.perf_counter()
    try:
        with output_aside() as aside:
            manifest = source.manifest()
            stage = "api"
            _check_api(manifest)
            stage = "hooks"
            specs = specs_of_manifest(manifest, source.name)
            additions = additions_of_manifest(manifest, source.name)
            stage = "specs"
            _check_licenses(specs, source.license, package=str(getattr(manifest, "__name__", "")).partition(".")[0])
    except KeyboardInterrupt:
        raise
    except BaseException as cause:  # noqa: BLE001 - a stranger's code, SystemExit included, takes nobody else along
        return _with_origin(Failure, source, stage="specs" if isinstance(cause, SpecError) else stage, cause=cause)
    seconds = time.perf_counter() - start
    manners = _manners(aside.said, seconds, imports_torch=not had_torch and "torch" in sys.modules)
    return _with_origin(Pack, source, specs=specs, additions=additions, manners=manners, seconds=seconds)


def _manners(said: str, seconds: float, *, imports_torch: bool) -> tuple[str, ...]:
    """What a manifest has done that costs everybody who lists methods."""
    found = []
    if said:
        found.append(f"prints {one_line(said.strip())!r}")
    if imports_torch:
        found.append("imports torch: a manifest names its classes as texts, 'module:Class'")
    elif seconds > _PATIENCE:
        found.append(f"takes {seconds:.1f} s: a manifest only returns specs")
    return tuple(found)


def find_packs(
    registered: Mapping[str, ModuleType | str],
) -> tuple[list[Source], list[Failure], list[DisabledPack]]:
    """Find all packs without importing anything of them.

    Args:
        registered: packs that no entry point names: from the name to the manifest, or the manifest's module's name.

    Returns:
        The packs to load, sorted by name; those whose name or metadata are impossible; those that are switched off.
    """
    installed, failures = _installed_sources()
    by_hand = (Source(name=name, manifest=partial(_import_manifest, where)) for name, where in registered.items())
    claims: dict[str, list[Source]] = defaultdict(list)
    disabled = []
    for source in (*installed, *by_hand):
        variable = _disabling_variable(source.name)
        if variable:
            disabled.append(_with_origin(DisabledPack, source, variable=variable, value=os.environ[variable]))
        else:
            claims[normalise(source.name)].append(source)
    sources = []
    for claimants in claims.values():
        owned = [source for source in claimants if not source.is_imitation]
        for source in claimants:
            problem = _name_problem(source, owned)
            if problem is None:
                sources.append(source)
            else:
                failures.append(_with_origin(Failure, source, stage="name", cause=SpecError(problem)))
    return sorted(sources, key=lambda s: s.name), failures, disabled


def pack_names_in(variable: str) -> list[str]:
    """The pack names in an environment variable, as they are written there."""
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]


def _import_manifest(where: ModuleType | str) -> ModuleType:
    return importlib.import_module(where) if isinstance(where, str) else where


def _with_origin(result: Callable[..., _Origin], origin: Origin, **more: Any) -> _Origin:
    return result(
        **{
            "name": origin.name,
            "distribution": origin.distribution,
            "version": origin.version,
            "license": origin.license,
            **more,
        }
    )


def _installed_sources() -> tuple[list[Source], list[Failure]]:
    """The packs that entry points name, distribution by distribution, and the distributions that cannot be read.

    ``importlib_metadata.entry_points`` reads all distributions in one go: one that it cannot read hides the rest.
    """
    sources: list[Source] = []
    failures: list[Failure] = []
    seen: set[str] = set()
    for distribution in importlib_metadata.distributions():
        entry_points, _ = _text(distribution.read_text, "entry_points.txt")
        if GROUP not in entry_points:
            continue
        origin, problem = _origin(distribution.read_text)
        if origin.distribution and normalise(origin.distribution) in seen:
            continue  # a second folder on the path has it, too; Python imports from the first
        seen.add(normalise(origin.distribution))
        try:
            points = [point for point in distribution.entry_points if point.group == GROUP]
        except Exception as cause:  # noqa: BLE001 - whatever the parser makes of a stranger's file
            points, problem = [], problem or cause
        if problem is None:
            sources += [_with_origin(Source, origin, name=one_line(p.name), manifest=p.load) for p in points]
        else:
            failures.append(_with_origin(Failure, origin, stage="metadata", cause=problem))
    return sources, failures


def _origin(read_text: Callable[[str], str | None]) -> tuple[Origin, Exception | None]:
    """What a distribution says about itself, as far as it can be read, and why it cannot."""
    # Headers are read as text: `dist.metadata` imports all of email, which takes longer than everything else here.
    metadata, problem = _text(read_text, "METADATA")
    if not metadata:
        metadata, problem = _text(read_text, "PKG-INFO")  # an .egg-info has that
    headers = re.split(r"\r?\n\r?\n", metadata, maxsplit=1)[0]
    name = _header("Name", headers)
    version, expression = _header("Version", headers), _header("License-Expression", headers)
    if not name and problem is None:
        problem = SpecError("its METADATA has no Name")
    return Origin(name=name or "?", distribution=name, version=version, license=expression), problem


def _text(read_text: Callable[[str], str | None], file: str) -> tuple[str, Exception | None]:
    """A file of a distribution's metadata, and what is wrong with it; what is not UTF-8 is replaced."""
    try:
        return read_text(file) or "", None
    except UnicodeDecodeError as error:
        text = error.object.decode("utf-8", errors="replace")
        return text, SpecError(f"{file} is not UTF-8, from byte {error.start} on")
    except Exception as error:  # noqa: BLE001 - a finder of somebody else's
        return "", error


def _header(name: str, headers: str) -> str:
    line = re.search(rf"^{name}:[ \t]*(.*?)[ \t\r]*$", headers, re.MULTILINE | re.IGNORECASE)
    return one_line(line[1]) if line else ""


def _disabling_variable(name: str) -> str:
    """The environment variable that switches a pack off; empty if none does."""
    admitted = {normalise(n) for n in pack_names_in(ONLY)}
    if normalise(name) in {normalise(n) for n in pack_names_in(DISABLE)}:
        return DISABLE
    return ONLY if admitted and normalise(name) not in admitted else ""


def _name_problem(source: Source, owned: list[Source]) -> str | None:
    """Why a source cannot have its name; ``owned``: all that have it, without imitations of first-party packs."""
    if normalise(source.name) == TORCH:
        return f"the name {TORCH!r} is reserved for torch's own classes"
    if normalise(source.name) == LOCAL:
        return f"the name {LOCAL!r} is reserved for what optim_core.register adds"
    if not re.fullmatch(r"[\w.-]+", source.name):
        return "a pack's name consists of letters, digits, '_', '-' and '.'"
    if source.is_imitation:
        return f"the name {source.name!r} belongs to {distribution_of(str(first_party_name(source.name)))}"
    if len(owned) > 1:
        who = " and ".join(other.label for other in owned)
        return f"claimed by {who}; neither is used. Uninstall one of them: pip uninstall {owned[-1].distribution}"
    return None


def _check_api(manifest: object) -> None:
    version = getattr(manifest, "OPTIM_CORE_API", 1)
    if not isinstance(version, int):
        raise TypeError(f"OPTIM_CORE_API={version!r} should be a whole number")
    if version > hookspecs.API_VERSION:
        raise RuntimeError(
            f"made for version {version} of the hooks, this core knows {hookspecs.API_VERSION}: "
            "pip install --upgrade optim-core"
        )


def _check_unique(specs: Iterable[Spec | Addition]) -> None:
    owners: dict[str, tuple[int, str]] = {}
    for position, spec in enumerate(specs):
        mine = position, spec.name
        for name in (spec.name, *getattr(spec, "aliases", ())):
            owner = owners.setdefault(normalise(name), mine)
            if owner is not mine:
                raise SpecError(f"both {owner[1]!r} and {spec.name!r} are called {name!r}")


def _check_licenses(specs: Iterable[Spec], declared: str, package: str) -> None:
    """Compare the licences of the pack's own classes with its distribution's; torch's classes have torch's licence."""
    ids = re.split(r"[\s()]+", declared)
    for spec in specs:
        own = re.split(r"[.:]", spec.target)[0] == package
        if own and declared and spec.license != declared and spec.license not in ids:
            raise SpecError(f"{spec.name!r} is {spec.license}, but the distribution declares {declared}")
