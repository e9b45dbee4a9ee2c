"""Tables of a page, as text; the page decides how they look."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A heading."""

    heading: str
    note: str = ""
    """Under it."""
    number: bool = True
    """Whether its cells hold numbers, which stand on the right."""


@dataclass(frozen=True)
class Cell:
    """What stands in one place."""

    text: str
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
    sources: Sequence[str] = ()
    """Where numbers of others come from, by their marks [1], [2] ..."""


def table(label: str, words: Sequence[str], numbers: Sequence[str], rows: Iterable[Sequence[str | Cell]]) -> Table:
    """A table whose first columns hold words and whose others hold numbers; a plain text is a cell."""
    columns = [*(Column(heading, number=False) for heading in words), *map(Column, numbers)]
    return Table(label, columns, [[Cell(each) if isinstance(each, str) else each for each in row] for row in rows])
