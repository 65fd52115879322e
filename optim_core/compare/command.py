"""The command `optim-core compare`."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from optim_core.compare.errors import CompareError
from optim_core.errors import OptimCoreError

if TYPE_CHECKING:
    from rich.console import Console

    from optim_core.compare.columns import Column
    from optim_core.compare.runner import Outcome

INTERRUPTED = 130
"""The exit code after Ctrl-C, as in shells."""


_EPILOG = """\b
An OPTIMIZER is a name, with options after commas and wrappers after plus signs:
  adamw    second_order:sophiah    torch:adamw
  sgd,momentum=0.9,nesterov=true
  sgd,momentum=0.9+sam,rho=0.1+lookahead     (lookahead around sam around sgd)
  'adamw,lr=(0.001,0.01)'                    (these learning rates for it alone)
Without any, one from each of five packs is run.

Exit code: 0; 1 if the comparison cannot be made, if all runs of an optimizer failed, or if none went to its end; 2 if
the command line is wrong; 130 after Ctrl-C, which keeps the finished runs.
"""


def _learning_rates(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[float, ...]:
    if text is None:
        return ()
    try:
        numbers = sorted({float(word) for word in text.split(",")})
    except ValueError:
        numbers = []
    if not numbers or not all(math.isfinite(number) and number >= 0 for number in numbers):
        message = f"{text!r} is not a list of numbers >= 0. Example: --lrs 1e-3,1e-2"
        raise click.BadParameter(message, context, parameter)
    return tuple(numbers)


@click.command(epilog=_EPILOG)
@click.argument("optimizers", nargs=-1, metavar="[OPTIMIZER]...")
@click.option(
    "--task", default="digits", show_default=True, help="digits, chars, one of a pack, or your own module:function."
)
@click.option(
    "--lrs",
    metavar="LR,LR,...",
    callback=_learning_rates,
    help="Learning rates for all; by default each method's own range is covered.",
)
@click.option("--n-lrs", type=click.IntRange(1), default=4, show_default=True, help="How many over a method's range.")
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Runs at each learning rate.")
@click.option("--epochs", type=click.IntRange(1), help="Length of a run; by default the task's.")
@click.option("--steps", type=click.IntRange(1), help="Length of a run in steps, instead of epochs.")
@click.option("--target", type=float, help="Score to reach (0.97 is 97 %); by default the task's.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of results.json and report.html. [default: compare-TASK]",
)
@click.option("--column", "columns", multiple=True, metavar="NAME", help="Of a pack, beside the others; repeatable.")
@click.option("--fresh", is_flag=True, help="Discard what --out holds instead of continuing it.")
@click.option("--device", default="cpu", show_default=True, help="As torch writes devices.")
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="For torch; small models are fastest on one.",
)
def compare(*, epochs: int | None, steps: int | None, columns: tuple[str, ...], **options: Any) -> None:
    """Train a small real model with each OPTIMIZER and say which was best.

    Every optimizer is tried at several learning rates with several seeds. The folder --out gets results.json and
    report.html. The same command again continues where it was stopped; other optimizers join the comparison.
    """
    if epochs is not None and steps is not None:
        raise click.UsageError("--epochs and --steps are two ways to say the same thing: give one of them.")
    try:
        _check_extra()
        from rich.console import Console

        from optim_core.compare.columns import load_columns
        from optim_core.compare.runner import Settings, run_comparison

        console = Console(highlight=False)
        more = load_columns(columns)  # before anything is trained
        code = _show(run_comparison(Settings(epochs=epochs, steps=steps, **options), console), console, more)
    except OptimCoreError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:  # before the first run, or again while the report was written
        code = INTERRUPTED
    click.get_current_context().exit(code)


def _show(outcome: Outcome, console: Console, columns: Sequence[Column]) -> int:
    """Print the table and write the report; returns the exit code."""
    from optim_core.compare.console import table
    from optim_core.compare.report import write_report
    from optim_core.compare.results import locked
    from optim_core.compare.summary import how_timed, remarks, summarise, verdict

    task = outcome.results.task
    rows = summarise(outcome.results.runs.values(), task)
    if rows:
        console.print(table(rows, task, console, columns), crop=False)
    for remark in filter(None, (*remarks(rows), how_timed(rows))):
        _print(console, f"* {remark}", style="dim")
    _print(console, verdict(rows, task), style="bold")
    if outcome.note:
        console.print(outcome.note, style="yellow", markup=False)
    elif outcome.skipped:
        console.print(f"{outcome.skipped} of {outcome.planned} runs were there already.", style="dim")
    with locked(outcome.results.folder):  # so that no older report replaces one of more runs
        outcome.results.refresh()
        report = write_report(outcome.results, outcome.note, columns)
    console.print(f"report: {report}", markup=False, soft_wrap=True)
    if outcome.interrupted:
        return INTERRUPTED
    asked = [row for row in rows if row.optimizer in outcome.labels]
    nothing = all(row.best is None for row in asked)
    return int(nothing or any(all(run.status == "failed" for run in row.runs) for row in asked))


def _print(console: Console, text: str, *, style: str) -> None:
    from optim_core.terminal import spelt, wrapped

    console.print(spelt(wrapped(text, console.width, "  "), console.encoding), style=style, markup=False)


def _check_extra() -> None:
    missing = [name for name in ("rich", "filelock", "jinja2", "matplotlib") if importlib.util.find_spec(name) is None]
    if missing:
        raise CompareError(f"compare needs {' and '.join(missing)}: pip install 'optim-core[compare]'")
