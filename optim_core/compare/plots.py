"""The report's plots: SVG with CSS variables as colours, so that one picture suits light and dark pages.

matplotlib draws with stand-in colours; afterwards each becomes `var(--...)`, text gets the page's font, and identifiers
a prefix, since several pictures share a page. Lines differ by colour, dash and marker, and are labelled.
"""

from __future__ import annotations

import io
import itertools
import logging
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from optim_core.compare.results import Run, TaskFacts
from optim_core.compare.summary import Row, show_point

logging.getLogger("matplotlib.font_manager").setLevel(logging.WARNING)

COLOURS = 6
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.2, 1.8)), (0, (6, 2, 1.2, 2)))
MARKERS = "os^DvPX<>*"

_STAND_INS = {
    "#010101": "var(--text)",
    "#020202": "var(--muted)",
    "#030303": "var(--grid)",
    "#040404": "var(--panel)",
    **{f"#0{i + 1}ab0{i + 1}": f"var(--c{i})" for i in range(COLOURS)},
}
_TEXT, _MUTED, _GRID, _PANEL, *_SERIES = _STAND_INS
_STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _TEXT,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.7,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.labelcolor": _TEXT,
    "ytick.labelcolor": _TEXT,
    "text.color": _TEXT,
    "lines.linewidth": 1.7,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "none",
}
_NO_METADATA: Any = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_SIZE = (5.8, 3.8)  # inches; 72 units of the picture each
_FRAME = (0.105, 0.115, 0.59, 0.865)  # left, bottom, width and height as shares; the names stand to the right
_LABEL_CHARACTERS = 20


@dataclass(frozen=True)
class Plot:
    """A picture with its caption, and its numbers for those who cannot see it."""

    name: str
    title: str
    caption: str
    numbers: str
    svg: str


def series_style(index: int) -> dict[str, Any]:
    """Colour, dash and marker of the optimizer at a place of the table."""
    return {
        "color": _SERIES[index % COLOURS],
        "linestyle": DASHES[index // COLOURS % len(DASHES)],
        "marker": MARKERS[index % len(MARKERS)],
    }


def loss_plot(rows: Sequence[Row]) -> Plot:
    """Training loss by step, each optimizer at its best learning rate, mean over seeds, smoothed."""
    curves = [(row, _mean_curve([_smooth(run.losses) for run in _finished_runs(row)])) for row in rows]

    def draw(axes: Axes) -> list[_End]:
        if all(value > 0 for _, curve in curves for _, value in curve):
            axes.set_yscale("log")
            _plain_log(axes.yaxis, (1.0, 2.0, 5.0))
        axes.set_xlabel("step")
        return [_line(axes, index, row, curve) for index, (row, curve) in enumerate(curves) if curve]

    return _plot(
        "loss",
        "Training loss by step",
        "Each optimizer at its best learning rate; mean over seeds, smoothed.",
        "At the end: " + "; ".join(f"{row.optimizer} {curve[-1][1]:.3g}" for row, curve in curves if curve),
        draw,
    )


def score_plot(rows: Sequence[Row], task: TaskFacts) -> Plot:
    """Validation score by step, each optimizer at its best learning rate, mean over seeds."""
    curves = [(row, _mean_curve([_scores_by_step(run) for run in _finished_runs(row)])) for row in rows]

    def draw(axes: Axes) -> list[_End]:
        _score_axis(axes, rows, task)
        axes.set_xlabel("step")
        if task.target is not None:
            axes.axhline(task.target, color=_MUTED, linewidth=1, linestyle=(0, (2, 3)), zorder=1)
        return [_line(axes, index, row, curve) for index, (row, curve) in enumerate(curves) if curve]

    target = f" The dotted line is the target, {task.show(task.target)}." if task.target is not None else ""
    return _plot(
        "score",
        f"{task.metric[:1].upper()}{task.metric[1:]} by step",
        f"Each optimizer at its best learning rate; mean over seeds.{target}",
        "At the end: " + _scores(rows, task),
        draw,
    )


def lr_plot(rows: Sequence[Row], task: TaskFacts) -> Plot:
    """Final score against learning rate, with the spread over seeds; a cross where every seed diverged or failed."""
    points = [point for row in rows for point in row.points]

    def draw(axes: Axes) -> list[_End]:
        lrs = [point.lr for point in points]
        if min(lrs) > 0:
            axes.set_xscale("log")
            _plain_log(axes.xaxis, (1.0,))
            axes.set_xlim(min(lrs) / 1.5, max(lrs) * 1.5)
        _score_axis(axes, rows, task)
        axes.set_xlabel("learning rate")
        return [end for index, row in enumerate(rows) for end in _lr_line(axes, index, row, task)]

    return _plot(
        "lr",
        f"{task.metric[:1].upper()}{task.metric[1:]} against learning rate",
        "Mean and standard deviation over seeds at the end of the runs. A cross: no seed finished. Lines that "
        "leave the picture are worse there; the table below has their numbers.",
        "Best: " + _scores(rows, task),
        draw,
    )


def _lr_line(axes: Axes, index: int, row: Row, task: TaskFacts) -> list[_End]:
    style = series_style(index)
    known = [(point.lr, point.mean) for point in row.points if point.mean is not None]
    lost = [point.lr for point in row.points if point.mean is None]
    bottom, top = axes.get_ylim()
    if lost:
        worst = bottom if task.goal == "max" else top
        axes.plot(lost, [worst] * len(lost), "x", color=style["color"], markersize=8, mew=2, clip_on=False)
    if not known:
        return []
    lrs, means = zip(*known, strict=True)
    axes.plot(lrs, means, **style, markersize=5)
    for point in row.points:
        if point.mean is not None and point.sd and bottom < point.mean < top:  # others would reach into the picture
            axes.errorbar(point.lr, point.mean, point.sd, color=style["color"], elinewidth=1, capsize=2)
    return [_End(index, row, lrs[-1], means[-1])]


def _scores(rows: Sequence[Row], task: TaskFacts) -> str:
    best = [(row.optimizer, row.best) for row in rows if row.best is not None]
    return "; ".join(f"{name} {show_point(point, task)} at lr {point.lr:g}" for name, point in best)


def swatch(index: int) -> str:
    """A small sample of a series' line, for the legend."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(0.5, 0.18))
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        axes.plot([0, 0.5, 1], [0, 0, 0], **series_style(index), markevery=[1], markersize=5)
        return _svg(figure, f"s{index}", hidden=True)


@dataclass(frozen=True)
class _End:
    """The right end of a line, where its name goes."""

    index: int
    row: Row
    x: float
    y: float


def _plot(name: str, title: str, caption: str, numbers: str, draw: Callable[[Axes], list[_End]]) -> Plot:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=_SIZE)
        axes = figure.add_axes(_FRAME)
        _name_lines(axes, draw(axes))
        return Plot(name, title, caption, numbers, _svg(figure, name))


def _name_lines(axes: Axes, ends: Sequence[_End]) -> None:
    """Write each line's name at its right end, at a distance from the others, with a thin line to it."""
    axes.set_xlim(axes.get_xlim())  # limits are computed when asked for; from here on they stay
    axes.set_ylim(axes.get_ylim())
    gap = 11 / (_SIZE[1] * _FRAME[3] * 72)  # a line of text, as a share of the axis
    to_axes = axes.transData + axes.transAxes.inverted()
    points = [(to_axes.transform((end.x, end.y)), end) for end in ends]
    points.sort(key=lambda item: float(item[0][1]))
    heights = [min(1.0, max(0.0, float(y))) for (_, y), _ in points]
    for ((x, _), end), y, place in zip(points, heights, spread_apart(heights, gap), strict=True):
        colour = series_style(end.index)["color"]
        lead = [min(1.0, x) + 0.01, 1.01, 1.05] if x > 0.9 else [1.01, 1.02, 1.05]
        axes.plot(lead, [y, y, place], transform=axes.transAxes, color=colour, linewidth=0.6, clip_on=False)
        name = end.row.optimizer
        if len(name) > _LABEL_CHARACTERS:
            name = name[: _LABEL_CHARACTERS - 1] + "…"
        axes.text(1.06, place, name, transform=axes.transAxes, color=colour, va="center_baseline", fontsize=8)


def spread_apart(places: Sequence[float], gap: float) -> list[float]:
    """Move sorted places as little as needed for `gap` between neighbours, within 0 and 1 where they all fit.

    Example:
        >>> [round(place, 2) for place in spread_apart([0.9, 0.95, 1.0], 0.1)]
        [0.8, 0.9, 1.0]
    """
    clusters: list[list[float]] = []  # of each: the sum of its members' wishes for its first place, their number
    for place in places:
        clusters.append([place, 1])
        while len(clusters) > 1 and _first(clusters[-2], gap) + clusters[-2][1] * gap > _first(clusters[-1], gap):
            wishes, count = clusters.pop()
            clusters[-1][0] += wishes - count * clusters[-1][1] * gap
            clusters[-1][1] += count
    return list(
        itertools.chain.from_iterable(
            [_first(cluster, gap) + i * gap for i in range(int(cluster[1]))] for cluster in clusters
        )
    )


def _first(cluster: Sequence[float], gap: float) -> float:
    """The first place of a cluster: as its members wish on average, but not beyond the ends."""
    wishes, count = cluster
    return max(0.0, min(wishes / count, 1.0 - (count - 1) * gap))


def _line(axes: Axes, index: int, row: Row, curve: Sequence[tuple[float, float]]) -> _End:
    steps, values = zip(*curve, strict=True)
    every = max(1, len(steps) // 6)
    axes.plot(steps, values, **series_style(index), markevery=(index % every, every), markersize=4)
    return _End(index, row, steps[-1], values[-1])


def _score_axis(axes: Axes, rows: Sequence[Row], task: TaskFacts) -> None:
    """Limit the axis to the scores worth comparing: one bad line would flatten all others."""
    if task.percent:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g} %"))
    sign = 1 if task.goal == "max" else -1
    bests = [sign * row.best.mean for row in rows if row.best is not None and row.best.mean is not None]
    starts = [sign * run.evaluations[0][2] for row in rows for run in _finished_runs(row)]
    high, start = max(bests), min(starts)
    low = max(start, high - max(3 * (high - min(bests)), 0.2 * (high - start)))
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 0.05
    edges = (sign * (low - margin), sign * (high + margin))
    axes.set_ylim(min(edges), max(edges))


def _finished_runs(row: Row) -> list[Run]:
    """The runs at the best learning rate that went to their end."""
    return [run for run in row.best.runs if run.score is not None] if row.best is not None else []


def _scores_by_step(run: Run) -> list[tuple[float, float]]:
    return [(step, score) for step, _, score in run.evaluations]


def _mean_curve(curves: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Point by point over seeds; all have the same steps, save where a user's epochs differ in length."""
    return [
        (points[0][0], statistics.fmean(value for _, value in points))
        for points in zip(*curves, strict=False)
        if points
    ]


def _smooth(curve: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
    """A running mean over a twentieth of the curve."""
    width = max(1, len(curve) // 20)
    return [
        (step, statistics.fmean(value for _, value in curve[max(0, i + 1 - width) : i + 1]))
        for i, (step, _) in enumerate(curve)
    ]


def _plain_log(axis: Axis, ticks: Sequence[float]) -> None:
    """Logarithmic ticks as plain numbers: 0.001, not a power of ten in small print."""
    axis.set_major_locator(LogLocator(10, subs=ticks, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}" if value >= 1e-4 else f"{value:.0e}"))
    axis.set_minor_locator(NullLocator())


def _svg(figure: Figure, prefix: str, *, hidden: bool = False) -> str:
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": prefix}):
        figure.savefig(buffer, format="svg", transparent=True, metadata=_NO_METADATA)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'(xlink:href="|url\()#', rf"\1#{prefix}-", text)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font: \1 var(--font)", text)
    for stand_in, variable in _STAND_INS.items():
        text = text.replace(stand_in, variable)
    labels = f'role="img" aria-labelledby="{prefix}-title" aria-describedby="{prefix}-text"'
    role = 'aria-hidden="true"' if hidden else labels
    return text.replace("<svg ", f"<svg {role} ", 1)
