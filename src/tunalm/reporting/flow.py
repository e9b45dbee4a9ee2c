"""The pipeline as it was run, drawn: a box per stage, in the column after the last stage that it reads, and arrows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

from matplotlib.figure import Figure

from tunalm.reporting.formats import visible
from tunalm.reporting.svg import INK, LINE, SERIES, drawn, label

ACROSS, DOWN = 2.1, 0.62
"""Inches from box to box."""


@drawn
def flow(kinds: Mapping[str, str], reads: Mapping[str, Sequence[str]], done: Mapping[str, bool]) -> tuple[Figure, str]:
    """Draw stages; the frame of one that has not finished is dashed.

    Args:
        kinds: by name of the stage, every one after those that it reads; at least one.
        reads: stages that a stage reads.
        done: whether it has finished.
    """
    places = places_of(kinds, reads)
    width, height = (1 + max(place[axis] for place in places.values()) for axis in (0, 1))
    figure = Figure(figsize=(width * ACROSS, height * DOWN))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.set_axis_off()
    for name, (x, y) in places.items():
        for read in reads[name]:
            start, arrow = (places[read][0] + 0.32, places[read][1]), {"arrowstyle": "-|>", "color": SERIES[0]}
            axes.annotate("", (x - 0.32, y), start, arrowprops=arrow)
        frame = {"boxstyle": "round", "fc": "white", "ec": SERIES[1] if done.get(name) else LINE}
        line = {"linestyle": "-" if done.get(name) else "--"}
        axes.text(x, y, f"{label(name)}\n{label(kinds[name])}", ha="center", va="center", color=INK, bbox=frame | line)
    said = "; ".join(f"{name} ({kind}) reads {', '.join(reads[name]) or 'no stage'}" for name, kind in kinds.items())
    return figure, str(visible(said))


def places_of(kinds: Mapping[str, str], reads: Mapping[str, Sequence[str]]) -> dict[str, tuple[float, float]]:
    """Column and row of every stage: right of all that it reads, and about as high."""
    columns: defaultdict[int, list[str]] = defaultdict(list)
    depth: dict[str, int] = {}
    for name in kinds:
        depth[name] = 1 + max((depth[read] for read in reads[name]), default=-1)
        columns[depth[name]].append(name)
    tallest = max(map(len, columns.values()))
    places: dict[str, tuple[float, float]] = {}
    for number, names in sorted(columns.items()):
        heights = {name: fmean(places[read][1] for read in reads[name]) if reads[name] else 0.0 for name in names}
        for row, name in enumerate(sorted(names, key=lambda name: heights[name])):
            places[name] = number, row + (tallest - len(names)) / 2
    return places
