"""Places of rows under every heading: what a click on it shows."""

from __future__ import annotations

from tunalm.reporting.tables import Cell, Column, Table


def table(*keys: float | None) -> Table:
    rows = [[Cell(str(number)), Cell("", key)] for number, key in enumerate(keys)]
    return Table("", [Column("name", number=False), Column("value")], rows)


def shown(made: Table, column: int) -> list[int]:
    """Rows in the order of the page."""
    return sorted(range(len(made.rows)), key=lambda row: made.places[row][column])


def test_the_first_column_keeps_the_order_given() -> None:
    assert shown(table(1.0, 3.0, 2.0), 0) == [0, 1, 2]


def test_other_columns_put_the_largest_first_and_nothing_last() -> None:
    assert shown(table(1.0, None, -3.0, 2.0), 1) == [3, 0, 2, 1]


def test_equal_rows_keep_their_order() -> None:
    assert shown(table(1.0, 2.0, 1.0, None, None), 1) == [1, 0, 2, 3, 4]


def test_a_table_may_be_empty() -> None:
    assert table().places == []
