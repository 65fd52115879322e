"""``optim-core doctor``: versions, packs, and their problems."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator

import click
import importlib_metadata

from optim_core import __version__
from optim_core.catalog import unresolved
from optim_core.catalog.discovery import pack_names_in
from optim_core.catalog.installed import Installed
from optim_core.catalog.licenses import ALLOW, DENY
from optim_core.catalog.packs import DISABLE, ONLY, Origin
from optim_core.catalog.registry import STRICT, registry
from optim_core.cli.output import print_table
from optim_core.names import did_you_mean, normalise
from optim_core.terminal import say
from optim_core.text import counted

_REQUIRED = ("torch", "pluggy", "importlib-metadata")
#: The packages of each extra.
_EXTRAS = {
    "cli": ("click", "rich", "license-expression"),
    "compare": ("filelock", "jinja2", "matplotlib", "scikit-learn"),
}


@click.command()
@click.pass_context
def doctor(ctx: click.Context) -> None:
    """Check the installation. Exits with 1 if something is broken."""
    installed = registry()
    say(f"optim-core {__version__}, Python {platform.python_version()}, {platform.platform(terse=True)}", wrap=True)
    print_table("package", "version", "for", rows=_packages())
    print_table("pack", "from", "licence", "state", rows=_packs(installed), elastic="state")
    for variable in (ONLY, DISABLE, STRICT, ALLOW, DENY):
        if variable in os.environ:
            say(f"{variable}={os.environ[variable]}")
    for note in _notes(installed):
        say(f"note: {note}")
    problems = list(_problems(installed))
    for problem in problems:
        say(f"problem: {problem}")  # unwrapped, so that its command can be copied
    say("Something is broken." if problems else "All is well.")
    ctx.exit(int(bool(problems)))


def _packages() -> Iterator[tuple[str, str, str]]:
    for name in _REQUIRED:
        yield name, _version(name) or "missing", "everything"
    for extra, names in _EXTRAS.items():
        for name in names:
            yield name, _version(name) or "-", f"optim-core[{extra}]"


def _packs(installed: Installed) -> Iterator[tuple[str, str, str, str]]:
    states: list[tuple[Origin, str]] = [(pack, counted(len(pack.specs), "method")) for pack in installed.packs]
    states += [(failure, f"broken ({failure.stage})") for failure in installed.failures]
    states += [(off, f"off ({off.variable})") for off in installed.disabled]
    for origin, state in states:
        yield origin.name, origin.label, origin.license or "not declared", state


def _notes(installed: Installed) -> Iterator[str]:
    """Settings that may be mistakes."""
    if not installed.packs:
        yield 'no pack works. All permissively licensed ones: pip install "optim-core[all]"'
    names = [origin.name for origin in installed.origins]
    for variable in (ONLY, DISABLE):
        for name in pack_names_in(variable):
            if normalise(name) not in map(normalise, names):
                yield f"{variable} names {name!r}, and no such pack is installed.{did_you_mean(name, names)}"
    for claimants in installed.contested():
        yield str(unresolved.ambiguous(claimants[0].spec.name, claimants))


def _problems(installed: Installed) -> Iterator[str]:
    """Requirements that are missing, packs that are broken."""
    for name in _REQUIRED:
        if _version(name) is None:
            yield f"{name} is missing: pip install {name}"
    for failure in installed.failures:
        yield str(unresolved.broken(failure))


def _version(distribution: str) -> str | None:
    try:
        return importlib_metadata.version(distribution)
    except importlib_metadata.PackageNotFoundError:
        return None
