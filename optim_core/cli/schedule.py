"""A schedule drawn in the terminal: a bar for each of up to 25 steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.bar import Bar
from rich.box import SIMPLE_HEAD
from rich.table import Table

from optim_core.catalog.kinds import getter_call
from optim_core.catalog.specs import SchedulerSpec
from optim_core.terminal import console, say

_ROWS = 25


def print_schedule(spec: SchedulerSpec, steps: int, options: Mapping[str, Any]) -> bool:
    """Draw the example of a scheduler, with some options replaced, or say why it cannot be drawn; returns which."""
    from optim_core import schedules  # imports torch

    try:
        rates = schedules.rates(spec, steps, **options)
    except Exception as problem:  # noqa: BLE001 - anybody's scheduler may fail, and the rest of the page stands
        say(f"It cannot be drawn: {type(problem).__name__}: {problem}", wrap=True)
        return False
    chart = Table(box=SIMPLE_HEAD, pad_edge=False, expand=True)
    chart.add_column("step", justify="right")
    chart.add_column(spec.sets, justify="right", no_wrap=True)
    chart.add_column("", ratio=1)
    largest = max(rates)
    for n in _steps_to_show(rates):
        chart.add_row(str(n + 1), f"{rates[n]:.4g}", Bar(size=largest or 1.0, begin=0, end=rates[n]))
    console().print(chart)
    say(_caption(spec, options, f"lr {schedules.BASE_LR:g} and beta2 {schedules.BETA2:g}"), wrap=True)
    return True


def _steps_to_show(rates: Sequence[float]) -> list[int]:
    """Indices at equal distances, and the last one.

    Example:
        >>> _steps_to_show([0.0] * 100)[-3:]
        [92, 96, 99]
    """
    return sorted({*range(0, len(rates), -(-len(rates) // _ROWS)), len(rates) - 1})


def _caption(spec: SchedulerSpec, options: Mapping[str, Any], base: str) -> str:
    changes = " with " + ", ".join(f"{name}={value!r}" for name, value in options.items()) if options else ""
    arguments = ", ".join(["optimizer", *([spec.example] if spec.example else [])])
    metric = "; the metric never improves" if "metric" in spec.needs else ""
    return f"{getter_call(spec)}({arguments}){changes}, on an optimizer with {base}{metric}."
