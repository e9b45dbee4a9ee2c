"""The tables of one benchmark."""

from __future__ import annotations

from typing import Any

from tunalm.reporting.numbers import official_totals, tasks_table, totals_table


def result(**changed: Any) -> dict[str, Any]:
    return {"value": 1.0, "by_task": {}, **changed}


def texts(table: Any) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


def test_totals_leave_out_standard_errors_and_what_is_no_number() -> None:
    totals = {"score": 24.25, "score_stderr": 3.0, "complete": True, "by": "them", "rows": 8}
    assert official_totals(result(totals=totals)) == {"score": 24.25}


def test_totals_have_a_row_per_model_and_a_column_per_total() -> None:
    table = totals_table("lmentry", {"base": result(totals={"score": 20.0}), "tuna": result(totals={"other": 1.0})})
    assert [column.heading for column in table.columns] == ["model", "score", "other"]
    assert texts(table) == [["base", "20.0", "-"], ["tuna", "-", "1.0"]]


def test_a_benchmark_without_totals_has_no_rows() -> None:
    assert texts(totals_table("own", {"base": result()})) == []


def test_a_task_that_a_model_lacks_is_blank() -> None:
    by_model = {
        "base": result(by_task={"one": {"value": 5.0, "n": 2}}),
        "tuna": result(by_task={"two": {"value": 6.0, "n": 3}}),
    }
    assert texts(tasks_table("own", by_model)) == [["one", "5.0", "", "2"], ["two", "", "6.0", "3"]]
