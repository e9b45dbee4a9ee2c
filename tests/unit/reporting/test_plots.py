"""Figures: SVG that carries its text, in the colours of the page."""

from __future__ import annotations

import io
import warnings
from xml.etree import ElementTree

import matplotlib.image
import numpy as np
import pytest

from tunalm.reporting.plots import MOST_POINTS, curves, histogram, interval_plot
from tunalm.reporting.svg import to_png, to_svg

NAMES = ["base", "a<b>&\"c'", "$x^$", "_hidden", "\u5c0f\u91d1\u67aa", "two\nlines\x00", "long " * 20]


def test_any_name_of_a_model_can_be_drawn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = to_svg(interval_plot([(name, 20.0, [15.0, 25.0]) for name in NAMES], "share, %"), 'every "name" <x>')
    root = ElementTree.fromstring(svg)
    drawn = [text.strip() for text in root.itertext()]
    assert {"base", "a<b>&\"c'", "$x^$", "_hidden", "\u5c0f\u91d1\u67aa", "two?lines?"} <= set(drawn)
    assert root.attrib["aria-label"] == 'every "name" <x>'


@pytest.mark.parametrize("values", [[3], [1, 2, 2, 900], [0.25, 0.5], [0.5, 0.5]])
def test_histograms_hold_every_value(values: list[float]) -> None:
    ElementTree.fromstring(to_svg(histogram(values, "tokens", mark=0.8), "lengths"))


def test_long_series_are_thinned() -> None:
    points = [(float(step), 1.0 / step) for step in range(1, 20 * MOST_POINTS)]
    short, long = (to_svg(curves({"loss": some}, "loss"), "") for some in (points[:MOST_POINTS], points))
    assert len(long) < 1.2 * len(short)


def test_a_figure_has_no_style_of_its_own_and_nothing_global_changes() -> None:
    before = dict(matplotlib.rcParams)
    svg = to_svg(curves({"loss": [(1.0, 2.0), (2.0, 1.0)], "loss rank": [(1.0, 1.0), (2.0, 0.5)]}, "loss"), "")
    assert dict(matplotlib.rcParams) == before
    assert "<style" not in svg
    assert "<metadata" not in svg


def test_a_figure_without_a_page_is_a_png_in_the_colours_of_paper() -> None:
    rows = [("base", 20.0, [15.0, 25.0]), ("tuna", 30.0, None)]
    drawn = to_png(interval_plot(rows, "share, %"))
    assert drawn.startswith(b"\x89PNG")
    assert drawn == to_png(interval_plot(rows, "share, %"))
    pixels = matplotlib.image.imread(io.BytesIO(drawn))[..., :3]
    wanted = np.array([0x0B, 0x6F, 0xB8]) / 255
    assert (np.abs(pixels - wanted).max(axis=2) < 0.01).any(), "the second series is blue"
