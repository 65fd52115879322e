"""The page: what was measured, on what, what came out, and how to repeat it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.contenders import OURS
from benchmarks.results import Measurement, Results
from benchmarks.shapes import SHAPE_SETS
from benchmarks.summary import Line, lines, verdicts

#: What a full measurement has; a line that has fewer says so.
ROUNDS = 9

_HEAD = """# Benchmarks

Time of one `step()` with fixed gradients, float32, default options, beside torch and
[pytorch_optimizer](https://github.com/kozistr/pytorch_optimizer), which has most of the methods too. Written by
`benchmarks/run.py`; to repeat it: `nox -s bench`, or `python benchmarks/run.py --only adamw,lion --shapes small` for a
quick look.
"""

_METHOD = """## How it is measured

- All contenders of a batch (as many methods as memory holds, each with everyone who has it) step in turn in one
  process, round after round; of each the least time counts. A time is given as a multiple of that of
  `torch.optim.AdamW(fused=True)` in the same rounds.
- torch runs in every form it has (single tensor, foreach, fused), pytorch_optimizer in every one that its constructors
  offer; the fastest is shown. Its factory can also put an update under `torch.compile`: that is a column of its own,
  with the seconds that the first step then takes.
- **bytes**: what a method must move (gradient read; parameter and states read and written, as its graph has it), as a
  multiple of AdamW's. **scaled**: our time, as a multiple of fused AdamW's for as many bytes; the target is 1.15, and
  2.3 for methods that sum over rows, tensors or the model, which must read twice. Methods on matrices do more than
  move bytes and have no target.
- **bandwidth**: bytes moved over time, as a share of what `copy_` of a buffer of 256 MiB moves. It may exceed 100 %: a
  copy also reads the lines that it overwrites, and small shapes stay in the caches.
- **memory**: growth of the process's resident memory during a step beyond parameters, gradients and states, in MB
  (10^6 bytes); the grain is about 0.1 MB.
- A method that needs more than gradients is measured for the update alone. The least time leaves out work that comes
  every few steps only (the roots of Shampoo and SOAP, where they are not taken at each step).
"""


def page(results: Results, picture: str) -> str:
    """The whole page.

    Args:
        results: what was measured.
        picture: the plot, relative to the page.
    """
    parts = [_HEAD, _machine(results)]
    if picture:
        parts.append(f"![Step times as multiples of fused AdamW's]({picture})\n")
    for name in _shapes(results):
        found = lines(results, name)
        parts.append(f"## {name.capitalize()} shapes: {SHAPE_SETS[name].title}\n")
        parts.append("".join(f"- {sentence}\n" for sentence in verdicts(found)))
        parts.append(table(found))
    if len(results.engines) > 1:
        parts.append(_engines(results))
    if results.first_steps:
        parts.append(_first_steps(results))
    if results.absences:
        parts.append(_absences(results))
    parts.append(_METHOD)
    return "\n".join(parts)


def _shapes(results: Results) -> list[str]:
    measured = {m.shapes for m in results.measurements}
    return [name for name in SHAPE_SETS if name in measured]


def _machine(results: Results) -> str:
    facts = "; ".join(f"{what} {value}" for what, value in results.environment.items())
    return f"Machine and versions: {facts}. {results.rounds} rounds, engine {results.engines[0]!r}.\n"


def table(found: Iterable[Line]) -> str:
    """A line for each method."""
    heads = (
        "method",
        "ms",
        "x fused AdamW",
        "bytes",
        "scaled",
        "bandwidth",
        "memory",
        "torch",
        "pytorch_optimizer",
        "faster by",
        "its torch.compile",
        "faster by",
    )
    return markdown(heads, [_cells(line) for line in found])


def _cells(line: Line) -> list[str]:
    ours, method, other = line.ours, line.method, line.compiled
    kind = {"elementwise": "", "reductions": " (sums)", "matrices": " (matrices)"}[method.work]
    rounds = f" ({len(ours.seconds)} rounds)" if len(ours.seconds) < ROUNDS else ""
    missed = " **!**" if line.reached is False else ""
    return [
        f"{method.name}{kind}{f', {method.given}' if method.given else ''}",
        f"{1e3 * ours.best:.3g}{rounds}",
        f"{ours.ratio:.2f}",
        _number(line.bytes_ratio),
        _number(line.scaled) + missed,
        "" if line.bandwidth is None else f"{100 * line.bandwidth:.0f} %",
        _memory(ours),
        ", ".join(f"{m.setting} {m.ratio:.2f}" for m in line.torch),
        *_against(line),
        f"{other.ratio:.2f}, {other.first:.0f} s" if other else "",
        f"{line.gain(other):.2f} x" if other else "",
    ]


def _against(line: Line) -> tuple[str, str]:
    """Their fastest setting, and how much faster ours is."""
    if not line.kozistr:
        return "", ""
    other = line.kozistr[0]
    setting = f" ({other.setting})" if other.setting else ""
    return f"{other.ratio:.2f}{setting}, {_memory(other)} MB", f"{line.gain(other):.2f} x"


def _memory(m: Measurement) -> str:
    return "?" if m.extra_bytes is None else f"{m.extra_bytes / 1e6:.1f}"


def _number(x: float | None) -> str:
    return "" if x is None else f"{x:.2f}"


def _engines(results: Results) -> str:
    rows = []
    for name in _shapes(results):
        for method in results.methods:
            mine = {
                m.setting: f"{m.ratio:.2f}"
                for m in results.measurements
                if m.shapes == name and m.method == method.name and m.library == OURS
            }
            rows.append([name, method.name, *(mine.get(engine, "") for engine in results.engines)])
    return f"## Engines, x fused AdamW\n\n{markdown(('shapes', 'method', *results.engines), rows)}"


def _first_steps(results: Results) -> str:
    heads = ("first step of a fresh process", "tensors", "never seen, s", "from the cache, s", "second step, ms")
    rows: dict[tuple[str, int], list[str]] = {}
    for f in results.first_steps:
        cells = rows.setdefault((f.what, f.tensors), [f.what, str(f.tensors), "", "", ""])
        cells[3 if f.cached else 2] = f.failure or ("" if f.seconds is None else f"{f.seconds:.3g}")
        if f.second is not None:
            cells[4] = f"{1e3 * f.second:.3g}"
    return f"## First step, with compilation\n\n{markdown(heads, rows.values())}"


def _absences(results: Results) -> str:
    rows: dict[tuple[str, ...], list[str]] = {}
    for a in results.absences:
        key = (a.method, a.library, a.setting, a.reason)
        rows.setdefault(key, []).append(a.shapes)
    cells = [[*key[:3], ", ".join(shapes), key[3]] for key, shapes in rows.items()]
    return f"## Not measured\n\n{markdown(('method', 'library', 'setting', 'shapes', 'reason'), cells)}"


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table.

    Example:
        >>> print(markdown(("a", "b"), [("1", "x")]))
        | a | b |
        |---|---|
        | 1 | x |
        <BLANKLINE>
    """
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    line = "| {} |".format
    return "\n".join(
        [line(" | ".join(heads)), "|" + "---|" * len(heads), *(line(" | ".join(row)) for row in cells), ""]
    )
