"""Finding packs and reading their manifests: each on its own, so that a broken one breaks nothing else."""

from __future__ import annotations

import importlib
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any, Literal, TypeAlias, TypeVar

import importlib_metadata
import pluggy

from optim_core.catalog import hookspecs
from optim_core.catalog.specs import OptimizerSpec, SchedulerSpec, Spec, WrapperSpec
from optim_core.errors import SpecError
from optim_core.names import normalise

GROUP = f"{hookspecs.PROJECT}.packs"
ONLY, DISABLE = "OPTIM_CORE_PACKS", "OPTIM_CORE_DISABLE"
#: Names with this prefix are torch's own classes; no pack may be called so.
TORCH = "torch"

Stage: TypeAlias = Literal["name", "import", "api", "hooks", "specs"]

_HOOKS: dict[str, type[Spec]] = {
    "optim_core_optimizers": OptimizerSpec,
    "optim_core_schedulers": SchedulerSpec,
    "optim_core_wrappers": WrapperSpec,
}


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What is known of a pack before anything of it is imported.

    Attributes:
        name: of its entry point.
        distribution, version: what installed it; empty if it was registered by hand.
        license: the distribution's SPDX expression (``License-Expression``); empty if it declares none.
    """

    name: str
    distribution: str = ""
    version: str = ""
    license: str = ""

    @property
    def label(self) -> str:
        """What to call it where its licence or a repair is in question: the distribution with its version."""
        return f"{self.distribution} {self.version}".strip() or f"pack {self.name}"

    def __str__(self) -> str:
        return f"'{self.name}' ({self.label})" if self.distribution else f"'{self.name}'"


_Origin = TypeVar("_Origin", bound=Origin)


@dataclass(frozen=True, kw_only=True)
class Source(Origin):
    """A pack that was found.

    Attributes:
        manifest: imports its manifest.
    """

    manifest: Callable[[], object] = field(compare=False)


@dataclass(frozen=True, kw_only=True)
class Pack(Origin):
    """A pack that works.

    Attributes:
        specs: what it brings.
    """

    specs: tuple[Spec, ...]


@dataclass(frozen=True, kw_only=True)
class Failure(Origin):
    """A pack that is set aside.

    Attributes:
        stage: what could not be done with it: accept its name, import the manifest, speak its hook API, call its
            hooks, accept its specs.
        cause: why.
    """

    stage: Stage
    cause: Exception

    @property
    def reason(self) -> str:
        """Stage and cause in one line."""
        return f"{self.stage}: {type(self.cause).__name__}: {self.cause}"


@dataclass(frozen=True, kw_only=True)
class Disabled(Origin):
    """A pack that is switched off.

    Attributes:
        variable: the environment variable that does it.
        value: what it holds.
    """

    variable: str
    value: str


def read(module: object, name: str) -> tuple[Spec, ...]:
    """The specs of a manifest.

    Args:
        module: the manifest.
        name: of the pack.

    Raises:
        SpecError: a hook returns something else than its specs, or two specs clash.
        pluggy.PluginValidationError: the manifest implements a hook that does not exist.
        Exception: whatever the pack's hooks raise.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(module, name=name)
    manager.check_pending()
    if not manager.get_hookcallers(module):
        raise SpecError(
            "it implements no hook: mark the manifest's functions with optim_core.catalog.hookspecs.hookimpl"
        )
    specs: list[Spec] = []
    for hook, kind in _HOOKS.items():
        for returned in getattr(manager.hook, hook)():
            for spec in returned:
                if not isinstance(spec, kind):
                    raise SpecError(f"{hook}() returned {type(spec).__name__} {spec!r:.60}, not {kind.__name__}")
                specs.append(spec)
    _check_unique(specs)
    return tuple(specs)


def load(source: Source) -> Pack | Failure:
    """Import a pack's manifest and ask for its specs; whatever goes wrong is kept as its failure."""
    stage: Stage = "import"
    try:
        module = source.manifest()
        stage = "api"
        _check_api(module)
        stage = "hooks"
        specs = read(module, source.name)
        stage = "specs"
        _check_licenses(specs, source.license, package=str(getattr(module, "__name__", "")).partition(".")[0])
    except Exception as cause:  # noqa: BLE001 - the code is somebody else's, and must not take the others along
        return _as(Failure, source, stage="specs" if isinstance(cause, SpecError) else stage, cause=cause)
    return _as(Pack, source, specs=specs)


def sources(registered: Mapping[str, ModuleType | str]) -> tuple[list[Source], list[Failure], list[Disabled]]:
    """All packs, with nothing of them imported: those to load, those with an impossible name, those switched off.

    Args:
        registered: manifests, or names of their modules, of packs that no entry point names.
    """
    by_hand = (Source(name=name, manifest=partial(_manifest, given)) for name, given in registered.items())
    found: dict[str, list[Source]] = defaultdict(list)
    disabled = []
    for source in (*map(_source, importlib_metadata.entry_points(group=GROUP)), *by_hand):
        variable = _switched_off(source.name)
        if variable:
            disabled.append(_as(Disabled, source, variable=variable, value=os.environ[variable]))
        else:
            found[normalise(source.name)].append(source)
    good, bad = [], []
    for claimants in found.values():
        problem = _name_problem(claimants)
        if problem is None:
            good += claimants
        else:
            bad += [_as(Failure, source, stage="name", cause=SpecError(problem)) for source in claimants]
    return sorted(good, key=lambda s: s.name), bad, disabled


def listed(variable: str) -> list[str]:
    """The pack names in an environment variable."""
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]


def _manifest(given: ModuleType | str) -> ModuleType:
    return importlib.import_module(given) if isinstance(given, str) else given


def _as(kind: Callable[..., _Origin], origin: Origin, **more: Any) -> _Origin:
    return kind(
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
    found = re.search(rf"^{name}:[ \t]*(.*?)[ \t\r]*$", headers, re.MULTILINE | re.IGNORECASE)
    return found[1] if found else ""


def _switched_off(name: str) -> str:
    """The variable that rules a pack out, or nothing."""
    only = {normalise(n) for n in listed(ONLY)}
    if normalise(name) in {normalise(n) for n in listed(DISABLE)}:
        return DISABLE
    return ONLY if only and normalise(name) not in only else ""


def _name_problem(claimants: list[Source]) -> str | None:
    name = claimants[0].name
    if normalise(name) == TORCH:
        return f"the name {TORCH!r} is reserved for torch's own classes"
    if not re.fullmatch(r"[\w.-]+", name):
        return "a pack's name consists of letters, digits, '_', '-' and '.'"
    if len(claimants) > 1:
        who = " and ".join(source.label for source in claimants)
        return f"claimed by {who}; neither is taken. Uninstall one of them: pip uninstall {claimants[-1].distribution}"
    return None


def _check_api(module: object) -> None:
    version = getattr(module, "OPTIM_CORE_API", 1)
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
    """Hold what is said of the pack's own classes against its distribution: torch's are under torch's licence."""
    ids = re.split(r"[\s()]+", declared)
    for spec in specs:
        own = re.split(r"[.:]", spec.target)[0] == package
        if own and declared and spec.license != declared and spec.license not in ids:
            raise SpecError(f"{spec.name!r} is {spec.license}, but the distribution declares {declared}")
