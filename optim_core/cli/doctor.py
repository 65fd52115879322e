"""``optim-core doctor``: versions, packs, and their problems."""

from __future__ import annotations

import platform

import click

from optim_core import __version__
from optim_core.catalog.registry import survey
from optim_core.cli.checkup import Checkup, examine, packages, settings_in_force, state_of
from optim_core.cli.output import print_json, print_table
from optim_core.terminal import say
from optim_core.text import counted

#: How many of the slowest imports are shown.
_SLOWEST = 5


@click.command()
@click.option("--deep", is_flag=True, help="Import every method, read what distributions ask for, tell what is off.")
@click.option("--pack", default="", metavar="NAME", help="Look at this pack only.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.pass_context
def doctor(ctx: click.Context, *, deep: bool, pack: str, as_json: bool) -> None:
    """Check the installation. Exits with 1 if something is broken.

    Without --deep no method is imported: that there is a class of its name is seen from its module's text.
    """
    found = examine(survey(), deep=deep, pack=pack)
    if as_json:
        print_json(found.as_dict())
    else:
        _print(found, deep=deep)
    ctx.exit(int(bool(found.problems)))


def _print(found: Checkup, *, deep: bool) -> None:
    say(f"optim-core {__version__}, Python {platform.python_version()}, {platform.platform(terse=True)}", wrap=True)
    print_table("package", "version", "for", rows=packages())
    rows = [(o.name, o.label, o.license or "not declared", state_of(o)) for o in found.looked_at]
    print_table("pack", "from", "licence", "state", rows=rows, elastic="state")
    for variable, value in settings_in_force().items():
        say(f"{variable}={value}")
    if found.imports:
        slowest = sorted(found.imports, key=lambda r: -(r.seconds or 0.0))[:_SLOWEST]
        say(f"{counted(len(found.imports), 'method')} imported; the slowest:")
        print_table("method", "seconds", rows=[(r.entry.full_name, f"{r.seconds:.3f}") for r in slowest])
    for note in found.notes:
        say(f"note: {note}")
    for problem in found.problems:
        say(f"problem: {problem}")  # unwrapped, so that its command can be copied
    if found.problems:
        say("Something is broken.")
    elif deep:
        say("All is well.")
    else:
        say("Nothing is wrong from outside. To import every method, too: optim-core doctor --deep", wrap=True)
