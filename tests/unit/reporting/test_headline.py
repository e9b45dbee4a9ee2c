"""The first table: stars where a difference is one, published numbers beside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tunalm.reporting.headline import headline
from tunalm.reporting.published import Published

MakeResults = Callable[..., dict[str, Any]]


def cells(made: Any) -> list[list[str]]:
    return [[cell.text for cell in row] for row in made.table.rows]


def test_a_star_marks_what_differs_from_the_first_model(make_results: MakeResults) -> None:
    assert cells(headline(make_results("base", "sft", "tuna"))) == [
        ["base", "20.0"],
        ["sft", "21.0"],
        ["tuna", "31.2*"],
    ]


def test_published_numbers_get_a_column_and_their_sources_a_list(make_results: MakeResults) -> None:
    published = [
        Published(benchmark="checkable", model="tuna", value=30.0, source="a paper"),
        Published(benchmark="checkable", model="another", value=40.0, source="a page"),
        Published(benchmark="never run", model="tuna", value=50.0, source="unused"),
    ]
    made = headline(make_results("base", "sft", "tuna"), published)
    assert cells(made)[0] == ["base", "20.0", ""]
    assert cells(made)[2:] == [["tuna", "31.2*", "30.0 [1]"], ["another", "", "40.0 [2]"]]
    assert made.sources == ["a paper", "a page"]
