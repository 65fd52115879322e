"""``optim-core show NAME``: one method in full."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
from rich.markup import escape

from optim_core.catalog import licenses
from optim_core.catalog.installed import Entry
from optim_core.catalog.kinds import getter_call
from optim_core.catalog.needs import NEEDS
from optim_core.catalog.registry import load_class, registry
from optim_core.catalog.sizes import Shape, element_count, size_text
from optim_core.catalog.specs import OptimizerSpec, SchedulerSpec
from optim_core.cli.output import console, entry_dict, print_json, table
from optim_core.cli.schedule import print_schedule
from optim_core.compare.contender import parse
from optim_core.errors import PackBroken
from optim_core.text import byte_size

_FLOAT32, _FLOAT64 = 4, 8


def _shape(context: click.Context, parameter: click.Parameter, text: str) -> Shape:
    sides = text.lower().split("x")
    if not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise click.BadParameter(f"{text!r} should be like 4096x4096", context, parameter)
    return tuple(map(int, sides))


@click.command()
@click.argument("name")
@click.option(
    "--parameters", type=click.FloatRange(min=1), default=1e9, show_default=True, help="Size of the model for memory."
)
@click.option(
    "--shape",
    callback=_shape,
    default="4096x4096",
    show_default=True,
    help="Shape of most of its tensors.",
)
@click.option("--steps", type=click.IntRange(min=2), default=100, show_default=True, help="Of the schedule to draw.")
@click.option(
    "--set", "changes", metavar="OPTION=VALUE", multiple=True, help="Of the schedule to draw; may be repeated."
)
@click.option(
    "--stages", is_flag=True, help="What the compiler makes of an optimizer's rule, from graph to C and Triton."
)
@click.option("--json", "as_json", is_flag=True, help="The spec, for machines.")
def show(
    *, name: str, parameters: float, shape: Shape, steps: int, changes: tuple[str, ...], stages: bool, as_json: bool
) -> None:
    """Show what NAME is: paper, licences, needs, options; an optimizer's memory; a schedule, drawn."""
    entry = registry().entry(name)
    options = _changes(entry, changes)
    model = reference_model(round(parameters), shape)
    if stages:
        _print_stages(entry)
        return
    if as_json:
        shapes = [shape for shape, count in model.items() for _ in range(count)]
        print_json({**entry_dict(entry), "state_bytes": _state_bytes(entry, model), "state_of": shapes})
        return
    out = console()
    out.print(f"[bold]{entry.spec.name}[/bold] ({entry.spec.kind}): {escape(entry.spec.summary)}")
    for key, value in _facts(entry):
        out.print(f"  {key:<10}{escape(value)}", soft_wrap=True)
    cls = _load_or_explain(entry)
    if cls is not None:
        _print_options(cls)
    if cls is not None and isinstance(entry.spec, SchedulerSpec):
        print_schedule(entry.spec, steps, options)
    _print_memory(entry, model)


def _changes(entry: Entry, changes: Sequence[str]) -> dict[str, Any]:
    """The options with which to draw a schedule."""
    if changes and not isinstance(entry.spec, SchedulerSpec):
        raise click.UsageError(f"--set is for schedules, and {entry.spec.name!r} is not a scheduler")
    contender = parse(",".join((entry.spec.name, *changes)))
    if contender.lrs:
        raise click.UsageError("a schedule is drawn for an lr of 1: leave --set lr=... out")
    return dict(contender.optimizer.options)


def _facts(entry: Entry) -> Iterator[tuple[str, str]]:
    spec, pack = entry.spec, entry.pack
    module, _, class_name = spec.target.partition(":")
    yield "class", f"optim_core.{getter_call(spec)}, or: from {module} import {class_name}"
    yield "pack", f"{pack.name} ({pack.label})"
    if spec.aliases:
        yield "aliases", ", ".join(spec.aliases)
    yield "licence", spec.license
    if spec.paper is not None:
        yield "paper", f"{spec.paper.title}, {spec.paper.year}, {spec.paper.url}"
    if spec.code:
        yield "code", f"{spec.code} (licence: {spec.code_license or 'unknown'})"
    for need in spec.needs:
        yield "needs", f"{need}: {NEEDS[need]}"
    if isinstance(spec, OptimizerSpec) and spec.constructors:
        yield "also", ", ".join(f"{spec.class_name}.{name}(...)" for name in spec.constructors)
    if isinstance(spec, OptimizerSpec) and spec.shortfall:
        yield "shortfall", spec.shortfall


def _load_or_explain(entry: Entry) -> Any:
    """The class; None, after printing the reason, if it may not or cannot be imported."""
    refusals = [rule for rule in licenses.rules() if not rule.permits(entry.spec.license)]
    if refusals:
        click.echo(f"\nOptions are not shown: your policy does not allow {entry.spec.license} ({refusals[0]}).")
        return None
    try:
        return load_class(entry.spec)
    except PackBroken as problem:
        click.echo(f"\nOptions cannot be shown: {problem}")
        return None


def _print_options(cls: Any) -> None:
    rows = list(_options(cls))
    if rows:
        console().print(table("option", "default", "range", "meaning", rows=rows, elastic="meaning"))


def _options(cls: Any) -> Iterator[tuple[str, str, str, str]]:
    """Rows of name, default, range, meaning."""
    hypers = getattr(cls, "hypers", None)
    if hypers is None:
        for parameter in list(inspect.signature(cls).parameters.values())[1:]:
            required = parameter.default is parameter.empty
            yield parameter.name, "required" if required else repr(parameter.default), "", ""
        return
    for hyper in hypers.values():
        signs = ((">=", hyper.ge), (">", hyper.gt), ("<=", hyper.le), ("<", hyper.lt))
        bounds = " ".join(f"{sign} {bound:g}" for sign, bound in signs if bound is not None)
        choices = " or ".join(map(repr, hyper.choices or ()))
        search = "; worth trying: {:g} to {:g}".format(*hyper.search) if hyper.search else ""
        yield hyper.name, repr(hyper.default), bounds or choices, hyper.doc + search


def _print_stages(entry: Entry) -> None:
    """Print what becomes of the rule for a matrix, at the default options, when warm-ups are over."""
    cls = _load_or_explain(entry)
    if cls is None:
        return
    rule = getattr(getattr(cls, "method", None), "rule", None)
    if rule is None or not isinstance(entry.spec, OptimizerSpec):
        raise click.UsageError(f"--stages is for an optimizer with a rule, which {entry.spec.name!r} is not")
    from optim_core.engines.text import stages_text
    from optim_core.rules.options import late_numbers

    options = cls.resolve({name: hyper.default for name, hyper in cls.hypers.items()}, frozenset())
    lr = float(options.get("lr") or 1.0)
    settled = options | late_numbers(lr) | {"lr": lr}
    click.echo(stages_text(cls.method.trace(settled, (2, 2), extras=frozenset(cls.method.extras))))


def _print_memory(entry: Entry, model: Mapping[Shape, int]) -> None:
    if not isinstance(entry.spec, OptimizerSpec):
        return
    states = entry.spec.state
    if not states:
        click.echo("Keeps no state with its default options.")
        return
    sizes = _state_bytes(entry, model)
    rows = [
        (state, size.rpartition(":")[2], size_text(size), byte_size(sizes[state])) for state, size in states.items()
    ]
    console().print(table("state", "size", "meaning", "memory", rows=rows, elastic="meaning"))
    parameters = sum(count * math.prod(shape) for shape, count in model.items())
    tensors = ", ".join(f"{count:,} of {' x '.join(map(str, shape))}" for shape, count in model.items())
    click.echo(
        f"{byte_size(sum(sizes.values()))} of state in float32 for {parameters:,} parameters ({tensors}), "
        "with default options."
    )


def reference_model(parameters: int, shape: Shape) -> dict[Shape, int]:
    """The shapes of a model's tensors, each with its count, for a number of parameters.

    As many tensors of the given shape as fit, then one with a smaller dimension 0, then a vector with the rest.

    Example:
        >>> reference_model(1_000_000, (512, 512))
        {(512, 512): 3, (417, 512): 1, (64,): 1}
    """
    counts: Counter[Shape] = Counter()
    counts[shape], rest = divmod(parameters, math.prod(shape))
    rows, last = divmod(rest, math.prod(shape[1:]))
    counts[(rows, *shape[1:])] += rows > 0
    counts[(last,)] += last > 0
    return {shape: count for shape, count in counts.items() if count}


def _state_bytes(entry: Entry, model: Mapping[Shape, int]) -> dict[str, int]:
    """The bytes of each state in float32; a state of the model as a whole is one float64."""
    if not isinstance(entry.spec, OptimizerSpec):
        return {}
    return {
        state: _FLOAT64 if size == "whole" else _FLOAT32 * sum(n * element_count(size, s) for s, n in model.items())
        for state, size in entry.spec.state.items()
    }
