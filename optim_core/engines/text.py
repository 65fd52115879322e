"""The stages of a rule as text, to be read: `optim-core show NAME --stages` prints it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from optim_core.engines.lowering import Loop, Output, Program, Sweep, is_accumulated, total_program, update_program
from optim_core.engines.native.source import own_source as c_text
from optim_core.engines.triton.source import own_source as triton_text
from optim_core.rules.arithmetic import SIGNS
from optim_core.rules.calls import call_segments
from optim_core.rules.graph import Graph
from optim_core.rules.values import Value


def stages_text(graph: Graph) -> str:
    """A rule's graph, and all that becomes of it: programs, C and Triton, computed in float32.

    A graph with calls of functions of stacks is cut at them; each part is shown.
    """
    parts = [("Graph", str(graph))]
    for segment in call_segments(graph):
        name = segment.call.function.__name__
        if segment.before is not None:
            parts += _parts(f"Before {name}", segment.before)
        results = ", ".join(map(_name, segment.call.results))
        arguments = ", ".join("None" if x is None else _name(x) for x in segment.call.tensors)
        parts.append(("Call", f"{results} = {name}({arguments})"))
    for pass_totals in graph.passes:
        names = ", ".join(_name(graph.trace.totals[i]) for i in pass_totals)
        parts += _parts(f"Totals {names}", graph, total_program(graph, pass_totals))
    parts += _parts("Update", graph)
    return "\n\n".join(f"# {title}\n{text}" for title, text in parts)


def _parts(title: str, graph: Graph, program: Program | None = None) -> Iterator[tuple[str, str]]:
    program = update_program(graph) if program is None else program
    dtypes = dict.fromkeys(("p", *graph.buffers), torch.float32)
    yield f"{title}: sweeps and stages", program_text(program)
    yield f"{title}: C", c_text(program, dtypes, torch.float32)
    yield f"{title}: Triton", triton_text(program, dtypes)


# programs ----------------------------------------------------------------------------------------------------------
def program_text(program: Program) -> str:
    """The text of a program, stage by stage and sweep by sweep; :mod:`optim_core.engines.lowering` has an example."""
    return "\n".join(_program_lines(program))


def _program_lines(program: Program) -> Iterator[str]:
    for k, values in enumerate(program.stages):
        if k:
            yield f"sweep {k - 1}, over all elements"
            yield from _indented(_sweep_lines(program.sweeps[k - 1]))
        yield f"stage {k}, for each tensor"
        lines = [f"{_equation(v)}{f', accumulated in sweep {k - 1}' if is_accumulated(v) else ''}" for v in values]
        lines += map(_write, program.stage_outputs(k))
        yield from _indented(lines or ["nothing"])
    for total in program.totals:
        yield f"add up {_equation(total)}, over all tensors"


def _sweep_lines(sweep: Sweep) -> Iterator[str]:
    if not sweep.rows:
        for loop in sweep.loops:
            yield from _loop_lines(loop)
        return
    yield "for each row"
    lines: list[str] = []
    for step in sweep.rows:
        lines += _loop_lines(step.loop) if step.loop else []
        lines += map(_equation, step.values)
    for loop in sweep.loops:
        lines += _loop_lines(loop)
    lines += (_accumulation(r) for r in sweep.row_reductions)
    lines += map(_write, sweep.row_outputs)
    yield from _indented(lines)


def _loop_lines(loop: Loop) -> Iterator[str]:
    yield "for each element" if loop.every == 1 else f"for every {loop.every}th element"
    yield from _indented(map(_equation, loop.values))
    yield from _indented(_accumulation(r) for r in loop.reductions)
    yield from _indented(map(_write, loop.outputs))


def _equation(value: Value) -> str:
    return f"{_name(value)} = {_definition(value)}"


def _accumulation(reduction: Value) -> str:
    return f"accumulate {_definition(reduction)} for {_name(reduction)}"


def _write(out: Output) -> str:
    return f"write {_name(out.value)} to {out.name}"


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"    {line}" for line in lines)


def _definition(value: Value) -> str:
    if value.op == "input":
        every = f", every {value.every}th element" if value.every > 1 else ""
        return f"{value.name}{every}"
    operands = [_name(a) for a in value.args]
    if value.op in _SIGNS:
        return _SIGNS[value.op].format(*operands)
    return f"{value.op}({', '.join(operands)})"


_SIGNS = {**SIGNS, "div": "{} / {}", "neg": "-{}"}


def _name(value: Value) -> str:
    return repr(value.number) if value.op == "constant" else f"v{value.index}"
