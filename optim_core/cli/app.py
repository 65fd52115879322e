"""The group of commands; an error of any of them becomes one line and an exit code."""

from __future__ import annotations

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

#: Commands that are imported only when they run, because they import torch: target and line in the help.
_LATER = {"compare": ("optim_core.compare.command:compare", "Train a small real model with each optimizer named.")}


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


@click.group(cls=_App, context_settings={"help_option_names": ["-h", "--help"]})
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
