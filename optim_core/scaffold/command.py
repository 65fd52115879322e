"""The command `optim-core new-pack`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from optim_core.scaffold.errors import PackageMissing, ScaffoldError
from optim_core.scaffold.render import PACK_KINDS, new_pack
from optim_core.terminal import say

_EPILOG = """\b
Kinds:
  optimizer   declarations and one update rule, which every engine runs
  wrapper     a change to the gradient, around any optimizer
  scheduler   a learning-rate schedule
  plain       a torch.optim.Optimizer with a step() of its own

Exit code: 0; 1 if the pack cannot be rendered, and then nothing has been written; 2 if the command line is wrong, or a
package that it needs is missing.
"""


class _Missing(click.ClickException):
    exit_code = 2


@click.command("new-pack", epilog=_EPILOG)
@click.argument("name")
@click.option("--kind", type=click.Choice(PACK_KINDS), help="What the pack's method is. [default: optimizer]")
@click.option(
    "--from-class",
    metavar="MODULE:CLASS",
    default="",
    help="Register this plain optimizer of an installed distribution. It is imported and stepped.",
)
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Folder in which the new one is made. [default: this one]",
)
@click.option("--license", "licence", metavar="SPDX", default="MIT", show_default=True, help="Of the pack.")
def command(name: str, **options: Any) -> None:
    """Render the folder of a new pack, which installs and passes its tests and lint as it is.

    The pack and its method are called NAME: acme makes the folder acme-optim, with the package acme_optim, and
    `optim_core.get("acme")` finds it once it is installed.
    """
    try:
        folder = new_pack(name, **options)
    except PackageMissing as error:
        raise _Missing(str(error)) from error
    except ScaffoldError as error:
        raise click.ClickException(str(error)) from error
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    say(f"{folder}:")
    for file in files:
        say(f"  {file}")
    say("\nIt installs and passes its tests as it is:")
    say(f'  cd {folder}\n  python -m pip install -e ".[dev]"\n  python -m pytest')
