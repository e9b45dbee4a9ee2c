"""Tables of a page that a reader can sort by a click, without a script.

The page gives every row its place under each sortable column; choosing a heading chooses the places that count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A heading."""

    heading: str
    note: str = ""
    """Under it."""
    number: bool = True
    """Whether its cells hold numbers: they stand on the right, and rows can be sorted by them."""


@dataclass(frozen=True)
class Cell:
    """What stands in one place."""

    text: str
    key: float | None = None
    """Rows are sorted by it, the largest first, those without one last."""
    note: str = ""
    """Under the text."""
    strong: bool = False
    heat: float | None = None
    """0-100: how far the cell is coloured."""


@dataclass(frozen=True)
class Table:
    """Headings and rows; the first column names the rows."""

    label: str
    """For those who cannot see it."""
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]

    @property
    def places(self) -> list[list[int]]:
        """By row, its place when rows are sorted by each column; the first column keeps the order given."""
        orders = [list(range(len(self.rows)))]
        for column in range(1, len(self.columns)):
            order = sorted(range(len(self.rows)), key=lambda row: _descending(self.rows[row][column].key))
            orders.append([place for _, place in sorted((row, place) for place, row in enumerate(order))])
        return [list(places) for places in zip(*orders, strict=True)]


def _descending(key: float | None) -> tuple[bool, float]:
    return key is None, 0.0 if key is None else -key
