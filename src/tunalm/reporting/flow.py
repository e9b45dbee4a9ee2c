"""The pipeline as it was run, drawn: a box per stage, in the column after the last stage that it reads, and arrows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

from tunalm.reporting.formats import visible
from tunalm.reporting.svg import Svg, escaped, label

WIDTH, HEIGHT = 150, 40
"""Of a box, in pixels."""
GAP_ACROSS, GAP_DOWN, EDGE = 46, 14, 6


def flow(kinds: Mapping[str, str], reads: Mapping[str, Sequence[str]], done: Mapping[str, bool]) -> Svg:
    """Draw stages.

    Args:
        kinds: by name of the stage, every one after those that it reads.
        reads: stages that a stage reads.
        done: whether it has finished.
    """
    columns = _columns(kinds, reads)
    places: dict[str, tuple[float, float]] = {}
    tallest = max(map(len, columns))
    for number, names in enumerate(columns):
        heights = {name: fmean(places[read][1] for read in reads[name]) if reads[name] else 0.0 for name in names}
        top = EDGE + (tallest - len(names)) * (HEIGHT + GAP_DOWN) / 2
        for row, name in enumerate(sorted(names, key=lambda name: heights[name])):
            places[name] = EDGE + number * (WIDTH + GAP_ACROSS), top + row * (HEIGHT + GAP_DOWN)
    width = len(columns) * (WIDTH + GAP_ACROSS) - GAP_ACROSS + 2 * EDGE
    height = tallest * (HEIGHT + GAP_DOWN) - GAP_DOWN + 2 * EDGE
    arrows = [_arrow(places[read], places[name]) for name in kinds for read in reads[name]]
    boxes = [_box(name, kinds[name], places[name], done.get(name, False)) for name in kinds]
    said = "; ".join(f"{name} ({kind}) reads {', '.join(reads[name]) or 'no stage'}" for name, kind in kinds.items())
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="flow" role="img" aria-label="{escaped(visible(said))}" '
        f'width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    )
    return Svg("\n".join([head, *arrows, *boxes, "</svg>"]))


def _columns(kinds: Mapping[str, str], reads: Mapping[str, Sequence[str]]) -> list[list[str]]:
    depth: dict[str, int] = {}
    columns: defaultdict[int, list[str]] = defaultdict(list)
    for name in kinds:
        depth[name] = 1 + max((depth[read] for read in reads[name]), default=-1)
        columns[depth[name]].append(name)
    return [columns[number] for number in range(len(columns))]


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    x, y = start[0] + WIDTH, start[1] + HEIGHT / 2
    to_x, to_y = end[0], end[1] + HEIGHT / 2
    bend = GAP_ACROSS * 0.6
    return (
        f'<path class="arrow" d="M{x:g} {y:g} C{x + bend:g} {y:g} {to_x - bend:g} {to_y:g} {to_x - 5:g} {to_y:g}"/>'
        f'<path class="head" d="M{to_x:g} {to_y:g} l-7 -4 v8 z"/>'
    )


def _box(name: str, kind: str, place: tuple[float, float], done: bool) -> str:
    x, y = place
    middle = x + WIDTH / 2
    return (
        f'<rect class="{"box" if done else "box open"}" x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
        f'<text x="{middle:g}" y="{y + 17:g}" text-anchor="middle" font-weight="600">{escaped(label(name))}</text>'
        f'<text class="kind" x="{middle:g}" y="{y + 32:g}" text-anchor="middle">{escaped(label(kind))}</text>'
    )
