"""``optim-core licenses``: who uses what licence, and a check for CI."""

from __future__ import annotations

import click

from optim_core.catalog.licenses import Rule, rules, terms
from optim_core.catalog.registry import Registry, registry
from optim_core.cli.output import console, mention_failures, print_json, table
from optim_core.errors import PolicyError


@click.command()
@click.option("--deny", multiple=True, metavar="SPDX", help="Not allowed: an SPDX licence, or 'noncommercial'.")
@click.option("--allow", multiple=True, metavar="SPDX", help="Allowed, and nothing else is.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.pass_context
def licenses(ctx: click.Context, *, deny: tuple[str, ...], allow: tuple[str, ...], as_json: bool) -> None:
    """Show and check licences.

    Exits with 1 if the policy does not allow the licence of an installed method. --deny and --allow may be repeated;
    they hold beside the environment variables OPTIM_CORE_LICENSE_DENY and OPTIM_CORE_LICENSE_ALLOW.
    """
    packs = registry()
    try:
        asked = [Rule(allows=False, terms=terms(",".join(deny), "--deny"), source="--deny")] if deny else []
        asked += [Rule(allows=True, terms=terms(",".join(allow), "--allow"), source="--allow")] if allow else []
    except PolicyError as error:
        raise click.UsageError(str(error)) from error
    found = [(*row, _refusal(row[2], (*asked, *rules()))) for row in _rows(packs)]
    if as_json:
        keys = ("name", "origin", "license", "code_license", "refused_by")
        print_json([dict(zip(keys, row, strict=True)) for row in found])
    else:
        rows = [(name, licence or "not declared", code) for name, _, licence, code, _ in found]
        console().print(table("method", "licence", "authors' code", rows=rows))
        mention_failures(packs)
    offenders = [row for row in found if row[4] is not None]
    for name, origin, licence, _, rule in offenders:
        click.echo(f"not allowed by {rule}: {name} ({origin}) is {licence or 'of no declared licence'}", err=True)
    ctx.exit(bool(offenders))


def _rows(packs: Registry) -> list[tuple[str, str, str, str]]:
    """Name, origin, licence, licence of the authors' code; a broken pack stands for what it would bring."""
    methods = [(e.full_name, e.pack.label, e.spec.license, e.spec.code_license) for e in packs.entries]
    return [*methods, *((f"{f.name}:*", f.label, f.license, "") for f in packs.failures)]


def _refusal(licence: str, in_force: tuple[Rule, ...]) -> str | None:
    return next((str(rule) for rule in in_force if not rule.permits(licence)), None)
