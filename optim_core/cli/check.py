"""``optim-core check``: what the conformance kit finds, a line for each check."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import click

from optim_core.cli.output import print_json
from optim_core.errors import InvalidOption
from optim_core.terminal import say
from optim_core.testing.run import Outcome, method, outcomes
from optim_core.testing.subject import subjects_of
from optim_core.text import counted, one_line

_EPILOG = """\b
Examples:
  optim-core check --pack acme           every method of an installed pack, and its manifest
  optim-core check acme:lion             one method
  optim-core check torch.optim:SGD       any class that steps with its defaults
  optim-core check acme:lion --check check_takes_every_shape    one check of it

Exit code: 0 if all checks pass, 1 if one fails, 2 if the command line is wrong.
"""


@click.command(epilog=_EPILOG)
@click.argument("names", nargs=-1, metavar="[NAME | MODULE:CLASS]...")
@click.option("--pack", "packs", multiple=True, metavar="PACK", help="A whole pack; may be repeated.")
@click.option("--check", "checks", multiple=True, metavar="CHECK", help="This check only; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of lines.")
@click.pass_context
def check(
    ctx: click.Context, names: tuple[str, ...], packs: tuple[str, ...], checks: tuple[str, ...], as_json: bool
) -> None:
    """Check that methods do what their specs say, and what every optimizer must."""
    if not names and not packs:
        raise click.UsageError("name a method, a MODULE:CLASS or --pack PACK to check")
    subjects: list[Any] = [subject for pack in packs for subject in subjects_of(pack)]
    subjects += [_subject(name) for name in names]
    found = list(_told(outcomes(subjects, only=checks), quiet=as_json))
    if not found:
        raise InvalidOption(f"{' and '.join(checks)} is about none of these. Without --check, all that apply are run")
    failures = sum(o.status == "failed" for o in found)
    if as_json:
        print_json({"failed": failures, "checks": [dataclasses.asdict(o) for o in found]})
    else:
        say(f"{counted(failures, 'check')} of {len(found)} failed." if failures else f"All {len(found)} checks pass.")
    ctx.exit(int(bool(failures)))


def _subject(name: str) -> Any:
    try:
        return method(name)
    except (ImportError, AttributeError) as error:
        raise InvalidOption(f"{name!r} cannot be imported: {one_line(str(error))}. Write MODULE:CLASS") from error


def _told(found: Iterator[Outcome], *, quiet: bool) -> Iterator[Outcome]:
    """The same, each with its line as soon as it is there."""
    for o in found:
        if not quiet:
            say(f"{o.status:<8} {o.subject}  {o.check}{f'  {one_line(o.text)}' if o.text else ''}")
        yield o
