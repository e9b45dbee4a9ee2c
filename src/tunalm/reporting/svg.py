"""What all figures share: the way from matplotlib to SVG text that can stand inside an HTML page.

Figures have the colours of the light scheme (`report.mplstyle`); the style sheet of the page turns them for the dark
one. Text stays text. No state of pyplot is touched.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from matplotlib import style
from matplotlib.figure import Figure

WIDTH = 4.2
"""Inches; a figure is as wide as a phone and stands beside others on a larger screen."""
MARGINS = (0.75, 0.12, 0.48, 0.16)
"""Inches left, right, below and above the axes; equal ones let figures stand in rows."""
LONGEST_LABEL = 22
INK, LINE = "#1c2024", "#d5dae0"
SERIES = ("#4b5563", "#0b6fb8", "#c2410c", "#15803d", "#86198f", "#a16207")
PNG_DPI = 160

styled = style.context(Path(__file__).with_name("report.mplstyle"), after_reset=True)
"""Decorates what makes or saves a figure."""


class Svg(str):
    """SVG that was made here, so a template engine puts it in as it is."""

    def __html__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Drawing:
    """A figure with the line under it."""

    caption: str
    svg: Svg


@styled
def to_svg(figure: Figure, description: str) -> Svg:
    """The figure for a page; the description is for those who cannot see it."""
    text = _saved(figure, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))).decode()
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text[text.index("<svg") :], count=1, flags=re.DOTALL)
    return Svg(text.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1))


@styled
def to_png(figure: Figure) -> bytes:
    """The figure on white."""
    return _saved(figure, format="png", dpi=PNG_DPI, facecolor="white", metadata={"Software": None})


def _saved(figure: Figure, **how: Any) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # text stays text: the reader's fonts draw it, not ours
        figure.savefig(buffer, **how)
    return buffer.getvalue()


def new_axes(height: float, legend_rows: int = 0) -> tuple[Figure, Any]:
    """A figure of that height, and of the legend's above it, whose margins do not depend on what it shows."""
    left, right, bottom, top = MARGINS
    legend = 0.2 * legend_rows
    whole = height + legend
    figure = Figure(figsize=(WIDTH, whole))
    figure.subplots_adjust(left / WIDTH, bottom / whole, 1 - right / WIDTH, 1 - (top + legend) / whole)
    return figure, figure.subplots()


def label(text: str) -> str:
    """A name that may be anything: one line, not too long, only what XML can hold."""
    visible = "".join(char if char.isprintable() else "?" for char in text)
    return visible if len(visible) <= LONGEST_LABEL else visible[: LONGEST_LABEL - 3] + "..."
