"""The kinds of figures in a report, drawn with matplotlib; `svg` makes text for a page of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tunalm.reporting.svg import INK, LINE, SERIES, WIDTH, label, new_axes, styled

Points = Sequence[tuple[float, float]]
Rows = Sequence[tuple[str, float | None, Sequence[float] | None]]
"""Name, value where there is one, both ends of its interval where there is one."""

LEGEND_COLUMNS = 3
MOST_POINTS = 300
MOST_BINS = 24
DASHES = ("-", "--", ":", "-.")


@styled
def interval_plot(rows: Rows, axis: str, digits: int = 1) -> Figure:
    """A dot per row with its interval, in the order of the rows; a dotted line stands at the first one's value.

    Args:
        rows: at least one.
        axis: label of the horizontal axis.
        digits: of the values, behind the point.
    """
    figure = Figure(figsize=(WIDTH, 0.9 + 0.36 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.set_yticks(range(len(rows)), [label(name) for name, *_ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.7)
    axes.grid(visible=False, axis="y")
    if rows[0][1] is not None:
        axes.axvline(rows[0][1], color=LINE, linestyle=":", linewidth=1.2)
    for place, (_, value, ends) in enumerate(rows):
        if value is None:
            continue
        colour = SERIES[place % len(SERIES)]
        if ends is not None:
            axes.plot(list(ends), [place, place], color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot([value], [place], "o", color=colour, markersize=6)
        axes.annotate(
            f"{value:.{digits}f}", (value, place), (0, 5), textcoords="offset points", ha="center", fontsize=9.5
        )
    axes.set_xlabel(axis)
    return figure


@styled
def setting_plot(series: Mapping[str, Rows], names: tuple[str, str]) -> Figure:
    """What a metric makes of the values of a knob, as in Figures 2 and 3 of the paper: a line per series.

    Args:
        series: by name, (value of the knob, the metric there, its interval).
        names: of the knob and of the metric.
    """
    figure, axes = _with_legend(2.6, len(series), names)
    settings = list(dict.fromkeys(setting for rows in series.values() for setting, *_ in rows))
    for place, (name, rows) in enumerate(series.items()):
        line = {"color": SERIES[(place + 1) % len(SERIES)], "linestyle": DASHES[place % len(DASHES)]}
        known = [(settings.index(setting), value, ends) for setting, value, ends in rows if value is not None]
        axes.plot([at for at, *_ in known], [value for _, value, _ in known], "o", label=name, **line)
        for at, _, ends in known:
            if ends is not None:
                axes.plot([at, at], list(ends), color=line["color"], linewidth=1.2)
    axes.set_xticks(range(len(settings)), [label(setting) for setting in settings])
    axes.set_xlim(-0.4, len(settings) - 0.6)
    axes.grid(visible=False, axis="x")
    _legend(figure, len(series))
    return figure


@styled
def curves(series: Mapping[str, Points], axis: str) -> Figure:
    """Lines over optimizer steps.

    Args:
        series: (step, value) pairs by name; long ones are averaged over neighbouring steps.
        axis: label of the vertical axis.
    """
    figure, axes = _with_legend(2.3, len(series), ("optimizer step", axis))
    for place, (name, points) in enumerate(series.items()):
        steps, values = _thinned(points)
        line = {"color": SERIES[place % len(SERIES)], "linestyle": DASHES[place % len(DASHES)]}
        axes.plot(steps, values, label=name, marker="o" if len(steps) == 1 else None, **line)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.ticklabel_format(axis="y", scilimits=(-3, 5))  # a learning rate's zeros would run into the axis' name
    _legend(figure, len(series))
    return figure


def _with_legend(height: float, count: int, names: tuple[str, str]) -> tuple[Figure, Any]:
    """Axes with these names, and room above them for a legend of so many series."""
    figure, axes = new_axes(height, math.ceil(count / LEGEND_COLUMNS) if count > 1 else 0)
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    return figure, axes


def _legend(figure: Figure, count: int) -> None:
    if count > 1:
        figure.legend(loc="upper left", ncols=LEGEND_COLUMNS)


@styled
def histogram(values: Sequence[float], axis: str, *, mark: float | None = None) -> Figure:
    """How often values occur; `mark` draws a line at a limit."""
    figure, axes = new_axes(2.2)
    axes.hist(values, bins=_bins(values), color=SERIES[1], rwidth=0.9)
    if mark is not None:
        axes.axvline(mark, color=INK, linestyle="--", linewidth=1)
    axes.grid(visible=False, axis="x")
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.set_xlabel(axis)
    axes.set_ylabel("responses")
    return figure


def _bins(values: Sequence[float]) -> list[float]:
    """Edges of at most about `MOST_BINS` equal bins; whole numbers lie in the middle of theirs."""
    low, high = min(values), max(values)
    if all(float(value).is_integer() for value in values):
        width = max(1, math.ceil((high - low) / MOST_BINS))
        return [float(edge) for edge in np.arange(low - 0.5, high + width, width)]
    return [float(edge) for edge in np.linspace(low, high, MOST_BINS + 1)]


def _thinned(points: Points) -> tuple[list[float], list[float]]:
    parts = np.array_split(np.asarray(points, dtype=np.float64), min(len(points), MOST_POINTS))
    steps, values = np.stack([part.mean(axis=0) for part in parts]).T
    return steps.tolist(), values.tolist()
