"""The picture: a bar for each library's fastest time, method by method, in one panel a set of shapes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from benchmarks.contenders import COMPILED, KOZISTR, OURS, TORCH
from benchmarks.results import Results
from benchmarks.shapes import SHAPE_SETS
from benchmarks.summary import Line, lines

#: One colour a library; told apart by those who see few colours too (Okabe and Ito's).
COLOURS = {OURS: "#0072b2", TORCH: "#e69f00", KOZISTR: "#999999", f"{KOZISTR}, {COMPILED}": "#56b4e9"}
_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: small, and found by a search
    "svg.hashsalt": "benchmarks",  # the same picture for the same numbers
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#777777",
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "figure.facecolor": "white",
}
_NO_METADATA: Any = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_LINE = 0.36  # inches a method


def svg(results: Results) -> str:
    """The picture as SVG; empty if nothing was measured."""
    panels = [(name, found) for name in SHAPE_SETS if (found := lines(results, name))]
    if not panels:
        return ""
    with mpl.rc_context(_STYLE):
        height = max(len(found) for _, found in panels) * _LINE + 1.2
        figure = Figure(figsize=(5.4 * len(panels), height), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for panel, (name, found) in zip(axes, panels, strict=True):
            _draw(panel, found)
            panel.set_title(f"{name}: {SHAPE_SETS[name].title}", fontsize=9, loc="left")
        handles = {label: bar for panel in axes for bar, label in zip(*panel.get_legend_handles_labels(), strict=True)}
        figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=len(COLOURS), frameon=False)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata=_NO_METADATA)
    return text.getvalue()


def bars(line: Line) -> dict[str, float]:
    """For each library its fastest time, as a multiple of fused AdamW's."""
    found = {OURS: line.ours.ratio}
    if line.torch:
        found[TORCH] = line.torch[0].ratio
    if line.kozistr:
        found[KOZISTR] = line.kozistr[0].ratio
    if line.compiled:
        found[f"{KOZISTR}, {COMPILED}"] = line.compiled.ratio
    return found


def _draw(axes: Axes, found: Sequence[Line]) -> None:
    thick = 0.8 / len(COLOURS)
    left = min(min(bars(line).values()) for line in found) / 1.5
    for at, library in enumerate(COLOURS):
        points = [(y, bars(line)[library]) for y, line in enumerate(found) if library in bars(line)]
        if points:
            places = [y + (at - (len(COLOURS) - 1) / 2) * thick for y, _ in points]
            widths = [x - left for _, x in points]
            axes.barh(places, widths, thick, left=left, color=COLOURS[library], label=library)
    axes.set_xscale("log")
    axes.set_xlim(left=left)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.axvline(1, color="#333333", linewidth=0.9)
    axes.grid(visible=True, axis="x")
    axes.set_yticks(range(len(found)), [line.method.name for line in found])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(found) - 0.5, -0.5)  # the fastest on top
    axes.set_xlabel("step time, x fused AdamW (the line at 1)")
