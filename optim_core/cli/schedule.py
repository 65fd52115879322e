"""A schedule drawn in the terminal: a bar for each of up to 25 steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.bar import Bar
from rich.box import SIMPLE_HEAD
from rich.table import Table

from optim_core.catalog.specs import SchedulerSpec
from optim_core.catalog.unresolved import GETTERS
from optim_core.cli.output import console

_ROWS = 25


def print_schedule(spec: SchedulerSpec, steps: int, options: Mapping[str, Any]) -> None:
    """Draw the example of a scheduler, with these options otherwise, or say why it cannot be done."""
    from optim_core import schedules  # imports torch

    try:
        rates = schedules.rates(spec, steps, **options)
    except Exception as problem:  # noqa: BLE001 - the scheduler may be anybody's, and the rest has been shown
        click.echo(f"It cannot be drawn: {type(problem).__name__}: {problem}")
        return
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, expand=True)
    drawn.add_column("step", justify="right")
    drawn.add_column(spec.sets, justify="right", no_wrap=True)
    drawn.add_column("", ratio=1)
    largest = max(rates)
    for n in _shown(rates):
        drawn.add_row(str(n + 1), f"{rates[n]:.4g}", Bar(size=largest or 1.0, begin=0, end=rates[n]))
    console().print(drawn)
    click.echo(_caption(spec, options, f"lr {schedules.BASE_LR:g} and beta2 {schedules.BETA2:g}"))


def _shown(rates: Sequence[float]) -> list[int]:
    """Indices at equal distances, and the last.

    Example:
        >>> _shown([0.0] * 100)[-3:]
        [92, 96, 99]
    """
    return sorted({*range(0, len(rates), -(-len(rates) // _ROWS)), len(rates) - 1})


def _caption(spec: SchedulerSpec, options: Mapping[str, Any], base: str) -> str:
    changed = " with " + ", ".join(f"{name}={value!r}" for name, value in options.items()) if options else ""
    arguments = ", ".join(["optimizer", *([spec.example] if spec.example else [])])
    metric = "; the metric never gets better" if "metric" in spec.needs else ""
    return f"{GETTERS[spec.kind]}({spec.name!r})({arguments}){changed}, on an optimizer with {base}{metric}."
