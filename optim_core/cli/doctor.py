"""``optim-core doctor``: versions, packs, and their problems."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator

import click
import importlib_metadata

from optim_core import __version__
from optim_core.catalog import licenses, settings, unresolved
from optim_core.catalog.installed import Installed
from optim_core.catalog.packs import Origin
from optim_core.catalog.registry import survey
from optim_core.cli.output import print_table
from optim_core.errors import PolicyError
from optim_core.terminal import say
from optim_core.text import counted, one_line

_REQUIRED = ("torch", "pluggy", "importlib-metadata")
#: The packages of each extra.
_EXTRAS = {
    "cli": ("click", "rich", "license-expression"),
    "compare": ("filelock", "jinja2", "matplotlib", "scikit-learn"),
    "scaffold": ("jinja2",),
}


@click.command()
@click.pass_context
def doctor(ctx: click.Context) -> None:
    """Check the installation. Exits with 1 if something is broken."""
    installed = survey()
    say(f"optim-core {__version__}, Python {platform.python_version()}, {platform.platform(terse=True)}", wrap=True)
    print_table("package", "version", "for", rows=_packages())
    print_table("pack", "from", "licence", "state", rows=_packs(installed), elastic="state")
    for variable in settings.VARIABLES:
        if variable in os.environ:
            say(f"{variable}={one_line(os.environ[variable])}")
    for note in _notes(installed):
        say(f"note: {one_line(note)}")
    problems = list(_problems(installed))
    for problem in problems:
        say(f"problem: {one_line(problem)}")  # unwrapped, so that its command can be copied
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
    yield from settings.notes(installed)
    for name, claimants in installed.contested():
        if not any(entry.pack.is_first_party for entry in claimants):
            yield str(unresolved.ambiguous(name, claimants))


def _problems(installed: Installed) -> Iterator[str]:
    """Requirements that are missing, packs that are broken, first-party names that others claim, a policy in vain."""
    for name in _REQUIRED:
        if _version(name) is None:
            yield f"{name} is missing: pip install {name}"
    for failure in installed.failures:
        yield str(unresolved.broken(failure))
    for name, claimants in installed.contested():
        if any(entry.pack.is_first_party for entry in claimants):
            yield str(unresolved.ambiguous(name, claimants))
    try:
        licenses.rules()
    except PolicyError as error:
        yield str(error)


def _version(distribution: str) -> str | None:
    try:
        return importlib_metadata.version(distribution)
    except importlib_metadata.PackageNotFoundError:
        return None
