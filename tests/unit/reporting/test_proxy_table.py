"""What the report says of a proxy ranking model."""

from __future__ import annotations

from typing import Any

import pytest

from tunalm.reporting.proxies import Comparison, comparisons

TAU = {
    "proxy": {"value": 0.61234, "ci95": [0.5, 0.7]},
    "length": {"value": -0.1, "ci95": None},
    "chance": {"value": 0.0, "ci95": None},
    "gain": {"value": None, "ci95": None},
}


def test_every_figure_stands_beside_its_baselines() -> None:
    assert comparisons({"lists": 3, "kendall_tau": TAU}) == [
        Comparison("Kendall's tau with the judge, mean", "0.612 (0.500 to 0.700)", "\N{MINUS SIGN}0.100", "0.000", "-")
    ]


@pytest.mark.parametrize("damaged", [None, "x", {}, {"lists": 0, "top1": TAU}, {"lists": 2, "top1": "x"}])
def test_where_nothing_was_held_out_there_is_no_table(damaged: Any) -> None:
    assert comparisons(damaged) == []


def test_a_damaged_figure_stops_nothing() -> None:
    [line] = comparisons({"lists": 2, "top1": {"proxy": 3, "length": {"value": "x"}}})
    assert (line.proxy, line.length, line.gain) == ("-", "-", "-")
