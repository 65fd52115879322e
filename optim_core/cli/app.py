"""The group of commands; an error of any of them becomes one line and an exit code."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import click

from optim_core import __version__
from optim_core.catalog.targets import import_target
from optim_core.cli.audit import licenses
from optim_core.cli.doctor import doctor
from optim_core.cli.listing import list_methods
from optim_core.cli.show import show
from optim_core.errors import OptimCoreError, PackWarning, SettingWarning
from optim_core.terminal import Streams, say

#: Commands that are imported only when they run, because they need more than the others: target and line in the help.
_LATER = {
    "check": (
        "optim_core.cli.check:check",
        "Check that methods do what their specs say, and what every optimizer must.",
    ),
    "compare": ("optim_core.compare.command:compare", "Train a small real model with each optimizer named."),
    "new-pack": ("optim_core.scaffold.command:command", "Render the folder of a new pack, ready to install."),
}
#: The exit code after Ctrl-C, as in shells.
_INTERRUPTED = 130

_EPILOG = """\b
Exit codes:
  0    all is well, also where the reader of the output leaves early (| head)
  1    what was asked about is wrong or missing, or the output cannot be written
  2    the command line is wrong, or a package that it needs is missing
  130  after Ctrl-C
"""


class _App(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_LATER])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _LATER:
            return click.Command(cmd_name, help=_LATER[cmd_name][1])
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name in _LATER:
            command = import_target(_LATER[name][0])
        return name, command, rest

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except OptimCoreError as error:
            raise click.ClickException(str(error)) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        with formatter.section("Commands"):  # click's own cuts what is longer than a line
            formatter.write_dl([(name, (c.help or "").split("\n\n")[0]) for name, c in commands.items() if c])


@click.group(cls=_App, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def app(ctx: click.Context) -> None:
    """PyTorch optimizers by name: what is installed, what each one is, and which is best."""
    # Each command mentions broken packs itself, and doctor the settings.
    ctx.with_resource(warnings.catch_warnings())
    warnings.simplefilter("ignore", PackWarning)
    warnings.simplefilter("ignore", SettingWarning)


for _command in (list_methods, show, doctor, licenses):
    app.add_command(_command)


def run() -> int:
    """Run the command line of this process; returns the exit code."""
    streams = Streams()
    try:
        code = app.main(prog_name="optim-core", standalone_mode=False) or 0
    except click.ClickException as error:
        error.show(file=sys.stderr)
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("Interrupted.", err=True)
        return _INTERRUPTED
    problem = streams.problem()
    if problem is not None:
        say(f"Error: the output cannot be written: {problem.strerror or problem}", err=True)
        return code or 1
    return code if isinstance(code, int) else 0
