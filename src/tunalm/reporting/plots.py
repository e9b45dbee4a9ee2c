"""Figures as SVG text to put inside an HTML page: small, without ids of time or machine, in the colours of the page.

Ink, lines and series are drawn in colours that stand for CSS values and are replaced by them, so that a figure follows
the light or dark scheme of the page. Text stays text. No state of pyplot is touched.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

Points = Sequence[tuple[float, float]]
Rows = Sequence[tuple[str, float | None, Sequence[float] | None]]
"""Name, value where there is one, both ends of its interval where there is one."""

WIDTH = 4.2
"""Inches; a figure is as wide as a phone and stands beside others on a larger screen."""
MARGINS = (0.75, 0.12, 0.48, 0.16)
"""Inches left, right, below and above the axes; equal ones let figures stand in rows."""
LEGEND_COLUMNS = 3
LEGEND_ROW = 0.2
"""Inches."""
MOST_POINTS = 300
MOST_BINS = 24
LONGEST_LABEL = 22
NUM_COLOURS = 6
DASHES = ("-", "--", ":", "-.")
PNG_DPI = 160


class Palette(NamedTuple):
    """Colours of a figure."""

    ink: str
    line: str
    series: Sequence[str]


PAGE = Palette("#010101", "#020202", [f"#0301{index:02x}" for index in range(NUM_COLOURS)])
"""Stands for the colours that the page will give."""
PAPER = Palette("#1c2024", "#d5dae0", ["#4b5563", "#0b6fb8", "#c2410c", "#15803d", "#86198f", "#a16207"])
"""Those of the light scheme, for a figure without a page."""

_CSS = {PAGE.ink: "currentColor", PAGE.line: "var(--line)"} | {
    colour: f"var(--series-{index})" for index, colour in enumerate(PAGE.series)
}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


class Svg(str):
    """SVG that was made here, so a template engine puts it in as it is."""

    def __html__(self) -> str:
        return str(self)


def interval_plot(rows: Rows, label: str, description: str) -> Svg:
    """A dot per row with its interval, in the order of the rows; a dotted line stands at the first one's value.

    Args:
        rows: at least one.
        label: of the horizontal axis.
        description: for those who cannot see the figure.
    """
    with style.context(_style(), after_reset=True):
        return _svg(_intervals(rows, label, PAGE), description)


def interval_png(rows: Rows, label: str) -> bytes:
    """The figure of `interval_plot` as PNG, dark on white."""
    with style.context(_style(PAPER), after_reset=True):
        return _png(_intervals(rows, label, PAPER))


def _intervals(rows: Rows, label: str, palette: Palette) -> Figure:
    figure = Figure(figsize=(WIDTH, 0.9 + 0.36 * len(rows)), layout="constrained")
    axes = figure.subplots()
    if rows[0][1] is not None:
        axes.axvline(rows[0][1], color=palette.line, linestyle=":", linewidth=1.2)
    for place, (_, value, ends) in enumerate(rows):
        if value is None:
            continue
        colour = palette.series[place % NUM_COLOURS]
        if ends is not None:
            axes.plot(list(ends), [place, place], color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot([value], [place], "o", color=colour, markersize=6)
        axes.annotate(f"{value:.1f}", (value, place), (0, 5), textcoords="offset points", ha="center", fontsize=9.5)
    axes.set_yticks(range(len(rows)), [_label(name) for name, *_ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.7)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(label)
    return figure


def curves(series: Mapping[str, Points], label: str, description: str) -> Svg:
    """Lines over optimizer steps.

    Args:
        series: (step, value) pairs by name; long ones are averaged over neighbouring steps.
        label: of the vertical axis.
        description: for those who cannot see the figure.
    """
    with style.context(_style(), after_reset=True):
        legend_rows = math.ceil(len(series) / LEGEND_COLUMNS) if len(series) > 1 else 0
        figure, axes = _axes(2.3, legend_rows * LEGEND_ROW)
        for place, (name, points) in enumerate(series.items()):
            steps, values = _thinned(points)
            look: dict[str, Any] = {"color": PAGE.series[place % NUM_COLOURS], "linestyle": DASHES[place % len(DASHES)]}
            axes.plot(steps, values, label=name, marker="o" if len(steps) == 1 else None, **look)
        if len(series) > 1:
            figure.legend(loc="upper left", ncols=LEGEND_COLUMNS)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_xlabel("optimizer step")
        axes.set_ylabel(label)
        return _svg(figure, description)


def histogram(values: Sequence[float], label: str, description: str, *, mark: float | None = None) -> Svg:
    """How often values occur; `mark` draws a line at a limit."""
    with style.context(_style(), after_reset=True):
        figure, axes = _axes(2.2)
        axes.hist(values, bins=_bins(values), color=PAGE.series[1], rwidth=0.9)
        if mark is not None:
            axes.axvline(mark, color=PAGE.ink, linestyle="--", linewidth=1)
        axes.grid(visible=False, axis="x")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.set_xlabel(label)
        axes.set_ylabel("responses")
        return _svg(figure, description)


def _style(palette: Palette = PAGE) -> Any:
    """Settings of matplotlib."""
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": "tunalm",
        "text.parse_math": False,
        "font.family": "sans-serif",
        "font.size": 10.5,
        "text.color": palette.ink,
        "axes.labelcolor": palette.ink,
        "axes.edgecolor": palette.line,
        "axes.facecolor": "none",
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.facecolor": "none",
        "grid.color": palette.line,
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "legend.fontsize": 9.5,
        "lines.linewidth": 1.5,
        "xtick.color": palette.ink,
        "ytick.color": palette.ink,
        "xtick.labelsize": 9.5,
        "ytick.labelsize": 9.5,
    }


def _axes(height: float, legend: float = 0.0) -> tuple[Figure, Any]:
    """A figure of that height, and of the legend's above it, whose margins do not depend on what it shows."""
    figure = Figure(figsize=(WIDTH, height + legend))
    left, right, bottom, top = MARGINS
    whole = height + legend
    figure.subplots_adjust(left / WIDTH, bottom / whole, 1 - right / WIDTH, 1 - (top + legend) / whole)
    return figure, figure.subplots()


def _bins(values: Sequence[float]) -> list[float]:
    """Edges of at most about `MOST_BINS` equal bins; whole numbers lie in the middle of theirs."""
    low, high = min(values), max(values)
    if all(float(value).is_integer() for value in values):
        width = max(1, math.ceil((high - low) / MOST_BINS))
        return [float(edge) for edge in np.arange(low - 0.5, high + width, width)]
    return [float(edge) for edge in np.linspace(low, high, MOST_BINS + 1)]


def _thinned(points: Points) -> tuple[list[float], list[float]]:
    parts = np.array_split(np.asarray(points, dtype=np.float64), min(len(points), MOST_POINTS))
    means = [part.mean(axis=0) for part in parts]
    return [float(mean[0]) for mean in means], [float(mean[1]) for mean in means]


def _label(text: str) -> str:
    """A name that may be anything: one line, not too long, only what XML can hold."""
    visible = "".join(char if char.isprintable() else "?" for char in text)
    return visible if len(visible) <= LONGEST_LABEL else visible[: LONGEST_LABEL - 3] + "..."


def _svg(figure: Figure, description: str) -> Svg:
    buffer = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # text stays text: the reader's fonts draw it, not ours
        figure.savefig(buffer, format="svg", metadata=_NO_METADATA)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for colour, css in _CSS.items():
        text = text.replace(colour, css)
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, count=1, flags=re.DOTALL)
    return Svg(text.replace("<svg", f'<svg role="img" aria-label="{_attribute(description)}"', 1))


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")
        figure.savefig(buffer, format="png", dpi=PNG_DPI, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def _attribute(text: str) -> str:
    return text.translate({ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord('"'): "&quot;"})
