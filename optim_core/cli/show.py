"""``optim-core show NAME``: one method in full."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from optim_core.catalog import licenses
from optim_core.catalog.installed import Entry
from optim_core.catalog.kinds import KINDS, getter_call
from optim_core.catalog.needs import NEEDS
from optim_core.catalog.registry import load_class, registry
from optim_core.catalog.sizes import Shape, element_bytes, element_count, size_text
from optim_core.catalog.specs import OptimizerSpec, SchedulerSpec, WrapperSpec
from optim_core.cli.options import options_of
from optim_core.cli.output import entry_dict, print_json, print_table
from optim_core.cli.schedule import print_schedule
from optim_core.compare.contender import parse
from optim_core.errors import PackBroken, UnknownName
from optim_core.terminal import say
from optim_core.text import byte_size
from optim_core.torch_names import is_torch, torch_class

_FLOAT64 = 8


def _shape(context: click.Context, parameter: click.Parameter, text: str) -> Shape:
    sides = text.lower().split("x")
    if not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise click.BadParameter(f"{text!r} should be like 4096x4096", context, parameter)
    return tuple(map(int, sides))


@click.command()
@click.argument("name")
@click.option(
    "--parameters",
    type=click.FloatRange(min=1),
    default=1e9,
    help="Size of the model for memory. [default: 1e9]",
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
@click.option("--json", "as_json", is_flag=True, help="The spec and the options, for machines.")
@click.pass_context
def show(
    ctx: click.Context,
    *,
    name: str,
    parameters: float,
    shape: Shape,
    steps: int,
    changes: tuple[str, ...],
    stages: bool,
    as_json: bool,
) -> None:
    """Show what NAME is: paper, licences, needs, options; an optimizer's memory; a schedule, drawn.

    NAME may be one of torch's own, such as torch:adamw, which has options alone. Exits with 1 if there is no such
    method, if it cannot be loaded, or if the schedule cannot be drawn.
    """
    if is_torch(name):
        _show_torch(name, as_json=as_json)
        return
    entry = registry().entry(name)
    options = _changes(entry, changes)
    model = reference_model(round(parameters), shape)
    if stages:
        _print_stages(entry)
        return
    if as_json:
        print_json(_as_dict(entry, model))
        return
    say(f"{entry.spec.name} ({entry.spec.kind}): {entry.spec.summary}", wrap=True)
    for key, value in _facts(entry):
        say(f"  {key:<10}{value}", wrap=True, indent=" " * 12)
    cls, reason = _load_or_explain(entry)
    if reason:
        say(f"\nOptions {reason}")
    if cls is not None:
        _print_options(cls)
    drawn = True
    if cls is not None and isinstance(entry.spec, SchedulerSpec):
        drawn = print_schedule(entry.spec, steps, options)
    _print_memory(entry, model)
    ctx.exit(int(not drawn or reason.startswith("cannot")))


def _show_torch(name: str, *, as_json: bool) -> None:
    """Show one of torch's own classes: what it says of itself, and its arguments.

    Raises:
        UnknownName: torch has none of this name.
    """
    kind = KINDS["optimizer"]
    try:
        cls = torch_class(name, kind)
    except UnknownName as no_optimizer:
        kind = KINDS["scheduler"]
        try:
            cls = torch_class(name, kind)
        except UnknownName as no_scheduler:
            better = "Did you mean" in str(no_scheduler)
            raise (no_scheduler if better else no_optimizer) from None
    summary = (inspect.getdoc(cls) or "").partition("\n\n")[0]
    getter = f"optim_core.{kind.getter}({name!r})"
    if as_json:
        shown = {"name": cls.__name__, "kind": kind.name, "summary": summary, "class": getter}
        print_json({**shown, "options": [option.as_dict() for option in options_of(cls)]})
        return
    say(f"{cls.__name__} ({kind.name} of torch's own): {' '.join(summary.split())}", wrap=True)
    say(f"  class     {getter}, or: from {kind.torch_module} import {cls.__name__}", wrap=True, indent=" " * 12)
    _print_options(cls)


def _as_dict(entry: Entry, model: Mapping[Shape, int]) -> dict[str, Any]:
    """The spec, the options (None where the class may not or cannot be loaded) and the memory, for machines."""
    cls, _ = _load_or_explain(entry)
    return {
        **entry_dict(entry),
        "options": None if cls is None else [option.as_dict() for option in options_of(cls)],
        "state_bytes": _state_bytes(entry, model),
        "state_of": [shape for shape, count in model.items() for _ in range(count)],
    }


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
    if isinstance(spec, OptimizerSpec) and spec.sparse:
        yield "sparse", "a sparse gradient updates the rows that it has"
    if isinstance(spec, (OptimizerSpec, WrapperSpec)) and spec.shortfall:
        yield "shortfall", spec.shortfall


def _load_or_explain(entry: Entry) -> tuple[Any, str]:
    """The class; or None and why it may not or cannot be imported."""
    refusals = [rule for rule in licenses.rules() if not rule.permits(entry.spec.license)]
    if refusals:
        return None, f"are not shown: your policy does not allow {entry.spec.license} ({refusals[0]})."
    from optim_core.wrapping.plain import constructor_of  # imports torch

    try:
        return constructor_of(entry.spec, load_class(entry.spec)), ""
    except PackBroken as problem:
        return None, f"cannot be shown: {problem}"


def _print_options(cls: Any) -> None:
    rows = [option.row() for option in options_of(cls)]
    if rows:
        print_table("option", "default", "range", "meaning", rows=rows, elastic="meaning")


def _print_stages(entry: Entry) -> None:
    """Print what becomes of the rule for a matrix, at the default options, when warm-ups are over."""
    cls, reason = _load_or_explain(entry)
    if cls is None:
        raise click.ClickException(f"the stages {reason}")
    rule = getattr(getattr(cls, "method", None), "rule", None)
    if rule is None or not isinstance(entry.spec, OptimizerSpec):
        raise click.UsageError(f"--stages is for an optimizer with a rule, which {entry.spec.name!r} is not")
    from optim_core.engines.text import stages_text
    from optim_core.rules.options import late_numbers

    options = cls.resolve({name: hyper.default for name, hyper in cls.hypers.items()}, frozenset())
    lr = float(options.get("lr") or 1.0)
    settled = options | late_numbers(lr) | {"lr": lr}
    say(stages_text(cls.method.trace(settled, (2, 2), extras=frozenset(cls.method.extras))))


def _print_memory(entry: Entry, model: Mapping[Shape, int]) -> None:
    if not isinstance(entry.spec, OptimizerSpec):
        return
    states = entry.spec.state
    if not states:
        say("Keeps no state with its default options.")
        return
    sizes = _state_bytes(entry, model)
    rows = [
        (state, size.rpartition(":")[2], size_text(size), byte_size(sizes[state])) for state, size in states.items()
    ]
    print_table("state", "size", "meaning", "memory", rows=rows, elastic="meaning")
    parameters = sum(count * math.prod(shape) for shape, count in model.items())
    tensors = ", ".join(f"{count:,} of {' x '.join(map(str, shape))}" for shape, count in model.items())
    say(
        f"{byte_size(sum(sizes.values()))} of state in float32 for {parameters:,} parameters ({tensors}), "
        "with default options.",
        wrap=True,
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
    """The bytes of each state, in float32 if nothing else is said; a state of the model as a whole is one float64."""
    if not isinstance(entry.spec, OptimizerSpec):
        return {}
    return {
        state: _FLOAT64
        if size == "whole"
        else element_bytes(size) * sum(n * element_count(size, s) for s, n in model.items())
        for state, size in entry.spec.state.items()
    }
