"""What all figures share: colours, sizes, and the way to SVG text that can stand inside an HTML page.

Ink, lines and series are drawn in colours that stand for CSS values and are replaced by them, so that a figure follows
the light or dark scheme of the page. Text stays text. No state of pyplot is touched.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from matplotlib.figure import Figure

WIDTH = 4.2
"""Inches; a figure is as wide as a phone and stands beside others on a larger screen."""
MARGINS = (0.75, 0.12, 0.48, 0.16)
"""Inches left, right, below and above the axes; equal ones let figures stand in rows."""
LONGEST_LABEL = 22
NUM_COLOURS = 6
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


@dataclass(frozen=True)
class Drawing:
    """A figure with the line under it."""

    caption: str
    svg: Svg


def look(palette: Palette = PAGE) -> Any:
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


def new_axes(height: float, legend: float = 0.0) -> tuple[Figure, Any]:
    """A figure of that height, and of the legend's above it, whose margins do not depend on what it shows."""
    figure = Figure(figsize=(WIDTH, height + legend))
    left, right, bottom, top = MARGINS
    whole = height + legend
    figure.subplots_adjust(left / WIDTH, bottom / whole, 1 - right / WIDTH, 1 - (top + legend) / whole)
    return figure, figure.subplots()


def label(text: str) -> str:
    """A name that may be anything: one line, not too long, only what XML can hold."""
    visible = "".join(char if char.isprintable() else "?" for char in text)
    return visible if len(visible) <= LONGEST_LABEL else visible[: LONGEST_LABEL - 3] + "..."


def to_svg(figure: Figure, description: str) -> Svg:
    """The figure in the colours of the page; `description` is for those who cannot see it."""
    buffer = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # text stays text: the reader's fonts draw it, not ours
        figure.savefig(buffer, format="svg", metadata=_NO_METADATA)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for colour, css in _CSS.items():
        text = text.replace(colour, css)
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, count=1, flags=re.DOTALL)
    return Svg(text.replace("<svg", f'<svg role="img" aria-label="{escaped(description)}"', 1))


def to_png(figure: Figure) -> bytes:
    """The figure as it is, on white."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")
        figure.savefig(buffer, format="png", dpi=PNG_DPI, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def escaped(text: str) -> str:
    """Text for an element or an attribute."""
    return text.translate({ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord('"'): "&quot;"})
