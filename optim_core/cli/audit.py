"""``optim-core licenses``: the licence of each method, and a check for CI."""

from __future__ import annotations

from functools import cache, partial

import click

from optim_core.catalog.installed import Installed
from optim_core.catalog.licenses import Rule, rules, terms
from optim_core.catalog.registry import registry
from optim_core.cli.output import mention_failures, print_json, print_table
from optim_core.errors import PolicyError
from optim_core.terminal import say


@click.command()
@click.option("--deny", multiple=True, metavar="SPDX", help="Not allowed: an SPDX licence, or 'noncommercial'.")
@click.option("--allow", multiple=True, metavar="SPDX", help="Allowed; nothing else is.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.pass_context
def licenses(ctx: click.Context, *, deny: tuple[str, ...], allow: tuple[str, ...], as_json: bool) -> None:
    """Show and check licences.

    Exits with 1 if the policy does not allow the licence of an installed method. --deny and --allow may be repeated;
    they apply in addition to the environment variables OPTIM_CORE_LICENSE_DENY and OPTIM_CORE_LICENSE_ALLOW.
    """
    installed = registry()
    try:
        options = (
            [Rule(allows=False, terms=terms(",".join(deny), "--deny", allows=False), source="--deny")] if deny else []
        )
        options += (
            [Rule(allows=True, terms=terms(",".join(allow), "--allow", allows=True), source="--allow")] if allow else []
        )
    except PolicyError as error:
        raise click.UsageError(str(error)) from error
    refusal = cache(partial(_refusal, in_force=(*options, *rules())))
    judged = [(*row, refusal(row[2])) for row in _rows(installed)]
    if as_json:
        keys = ("name", "origin", "license", "code_license", "refused_by")
        print_json([dict(zip(keys, row, strict=True)) for row in judged])
    else:
        rows = [(name, licence or "not declared", code) for name, _, licence, code, _ in judged]
        print_table("method", "licence", "authors' code", rows=rows)
        mention_failures(installed)
    offenders = [row for row in judged if row[4] is not None]
    for name, origin, licence, _, rule in offenders:
        say(f"not allowed by {rule}: {name} ({origin}) is {licence or 'of no declared licence'}", err=True)
    ctx.exit(int(bool(offenders)))


def _rows(installed: Installed) -> list[tuple[str, str, str, str]]:
    """Name, origin, licence, licence of the authors' code; a broken pack has one row for all its methods."""
    methods = [(e.full_name, e.pack.label, e.spec.license, e.spec.code_license) for e in installed.entries]
    return [*methods, *((f"{f.name}:*", f.label, f.license, "") for f in installed.failures)]


def _refusal(licence: str, in_force: tuple[Rule, ...]) -> str | None:
    """The first rule that does not permit a licence."""
    return next((str(rule) for rule in in_force if not rule.permits(licence)), None)
