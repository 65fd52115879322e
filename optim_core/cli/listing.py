"""``optim-core list``: the methods that are installed."""

from __future__ import annotations

from collections.abc import Sequence

import click

from optim_core.catalog.installed import Entry
from optim_core.catalog.kinds import KINDS
from optim_core.catalog.needs import NEEDS, Need
from optim_core.catalog.registry import registry
from optim_core.catalog.specs import KindName
from optim_core.cli.output import entry_dict, mention_failures, print_json, print_table
from optim_core.terminal import say


@click.command("list")
@click.argument("pattern", default="*")
@click.option("--pack", metavar="NAME", help="Of this pack only.")
@click.option("--kind", type=click.Choice(list(KINDS)), help="Of this kind only.")
@click.option("--needs", type=click.Choice(list(NEEDS)), multiple=True, help="That need this; may be repeated.")
@click.option("--license", "license_", metavar="SPDX", help="Under this licence, or 'noncommercial'.")
@click.option("--json", "as_json", is_flag=True, help="The specs, for machines.")
@click.pass_context
def list_methods(
    ctx: click.Context,
    *,
    pattern: str,
    pack: str | None,
    kind: KindName | None,
    needs: tuple[Need, ...],
    license_: str | None,
    as_json: bool,
) -> None:
    """List the installed methods.

    PATTERN, such as 'ada*', is matched against names and aliases. Exits with 1 if no pack works.
    """
    installed = registry()
    entries = installed.find(pattern, pack=pack, kind=kind, needs=needs, license=license_)
    entries.sort(key=lambda e: (e.spec.name, e.pack.name))
    if as_json:
        print_json([entry_dict(e) for e in entries])
    elif entries:
        for name in KINDS:
            rows = [(e.spec.name, e.pack.name, e.spec.license, _line(e)) for e in entries if e.spec.kind == name]
            if rows:
                print_table(name, "pack", "licence", "what it does", rows=rows, elastic="what it does")
    else:
        say(_nothing(installed.entries), err=True)
    mention_failures(installed)
    ctx.exit(int(not installed.entries))


def _line(entry: Entry) -> str:
    needs = f" Needs {', '.join(entry.spec.needs)}." if entry.spec.needs else ""
    return entry.spec.summary + needs


def _nothing(entries: Sequence[Entry]) -> str:
    if entries:
        return f"None of the {len(entries)} installed methods matches."
    return 'No pack works. All permissively licensed ones: pip install "optim-core[all]"'
