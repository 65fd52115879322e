"""Finding packs and loading their manifests: each on its own, so that a broken one breaks nothing else."""

from __future__ import annotations

import importlib
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import ModuleType
from typing import Any, TypeVar

import importlib_metadata
import pluggy

from optim_core.catalog import hookspecs
from optim_core.catalog.kinds import KINDS
from optim_core.catalog.packs import DISABLE, ONLY, TORCH, DisabledPack, Failure, Origin, Pack, Source, Stage
from optim_core.catalog.specs import Spec
from optim_core.errors import SpecError
from optim_core.names import normalise

GROUP = f"{hookspecs.PROJECT}.packs"

_Origin = TypeVar("_Origin", bound=Origin)


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
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(manifest, name=pack)
    manager.check_pending()
    if not manager.get_hookcallers(manifest):
        raise SpecError("it implements no hook: mark the manifest's functions with optim_core.catalog.hookimpl")
    specs: list[Spec] = []
    for kind in KINDS.values():
        for returned in getattr(manager.hook, kind.hook)():
            for spec in returned:
                if not isinstance(spec, kind.spec):
                    raise SpecError(
                        f"{kind.hook}() returned {type(spec).__name__} {spec!r:.60}, not {kind.spec.__name__}"
                    )
                specs.append(spec)
    _check_unique(specs)
    return tuple(specs)


def load_pack(source: Source) -> Pack | Failure:
    """Import a pack's manifest and ask it for its specs; whatever goes wrong becomes a failure."""
    stage: Stage = "import"
    try:
        manifest = source.manifest()
        stage = "api"
        _check_api(manifest)
        stage = "hooks"
        specs = specs_of_manifest(manifest, source.name)
        stage = "specs"
        _check_licenses(specs, source.license, package=str(getattr(manifest, "__name__", "")).partition(".")[0])
    except Exception as cause:  # noqa: BLE001 - the code is somebody else's, and must not take the others along
        return _with_origin(Failure, source, stage="specs" if isinstance(cause, SpecError) else stage, cause=cause)
    return _with_origin(Pack, source, specs=specs)


def find_packs(
    registered: Mapping[str, ModuleType | str],
) -> tuple[list[Source], list[Failure], list[DisabledPack]]:
    """Find all packs without importing anything of them.

    Args:
        registered: packs that no entry point names: from the name to the manifest, or the manifest's module's name.

    Returns:
        The packs to load, sorted by name; those whose name is impossible; those that are switched off.
    """
    by_hand = (Source(name=name, manifest=partial(_import_manifest, where)) for name, where in registered.items())
    claims: dict[str, list[Source]] = defaultdict(list)
    disabled = []
    for source in (*map(_source, importlib_metadata.entry_points(group=GROUP)), *by_hand):
        variable = _disabling_variable(source.name)
        if variable:
            disabled.append(_with_origin(DisabledPack, source, variable=variable, value=os.environ[variable]))
        else:
            claims[normalise(source.name)].append(source)
    sources, misnamed = [], []
    for claimants in claims.values():
        problem = _name_problem(claimants)
        if problem is None:
            sources += claimants
        else:
            misnamed += [_with_origin(Failure, s, stage="name", cause=SpecError(problem)) for s in claimants]
    return sorted(sources, key=lambda s: s.name), misnamed, disabled


def pack_names_in(variable: str) -> list[str]:
    """The pack names in an environment variable, as they are written there."""
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]


def _import_manifest(where: ModuleType | str) -> ModuleType:
    return importlib.import_module(where) if isinstance(where, str) else where


def _with_origin(result: Callable[..., _Origin], origin: Origin, **more: Any) -> _Origin:
    return result(
        name=origin.name,
        distribution=origin.distribution,
        version=origin.version,
        license=origin.license,
        **more,
    )


def _source(entry_point: importlib_metadata.EntryPoint) -> Source:
    # Headers are read as text: `dist.metadata` imports all of email, which takes longer than everything else here.
    metadata = entry_point.dist.read_text("METADATA") if entry_point.dist is not None else None
    headers = (metadata or "").partition("\n\n")[0]
    return Source(
        name=entry_point.name,
        distribution=_header("Name", headers),
        version=_header("Version", headers),
        license=_header("License-Expression", headers),
        manifest=entry_point.load,
    )


def _header(name: str, headers: str) -> str:
    line = re.search(rf"^{name}:[ \t]*(.*?)[ \t\r]*$", headers, re.MULTILINE | re.IGNORECASE)
    return line[1] if line else ""


def _disabling_variable(name: str) -> str:
    """The environment variable that switches a pack off; empty if none does."""
    admitted = {normalise(n) for n in pack_names_in(ONLY)}
    if normalise(name) in {normalise(n) for n in pack_names_in(DISABLE)}:
        return DISABLE
    return ONLY if admitted and normalise(name) not in admitted else ""


def _name_problem(claimants: list[Source]) -> str | None:
    name = claimants[0].name
    if normalise(name) == TORCH:
        return f"the name {TORCH!r} is reserved for torch's own classes"
    if not re.fullmatch(r"[\w.-]+", name):
        return "a pack's name consists of letters, digits, '_', '-' and '.'"
    if len(claimants) > 1:
        who = " and ".join(source.label for source in claimants)
        return f"claimed by {who}; neither is used. Uninstall one of them: pip uninstall {claimants[-1].distribution}"
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


def _check_unique(specs: Iterable[Spec]) -> None:
    owners: dict[str, Spec] = {}
    for spec in specs:
        for name in (spec.name, *spec.aliases):
            other = owners.setdefault(normalise(name), spec)
            if other is not spec:
                raise SpecError(f"both {other.name!r} and {spec.name!r} are called {name!r}")


def _check_licenses(specs: Iterable[Spec], declared: str, package: str) -> None:
    """Compare the licences of the pack's own classes with its distribution's; torch's classes have torch's licence."""
    ids = re.split(r"[\s()]+", declared)
    for spec in specs:
        own = re.split(r"[.:]", spec.target)[0] == package
        if own and declared and spec.license != declared and spec.license not in ids:
            raise SpecError(f"{spec.name!r} is {spec.license}, but the distribution declares {declared}")
