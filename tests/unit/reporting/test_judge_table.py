"""What the report says of a judge."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tunalm.reporting import Run, write_report

HEALTH: dict[str, Any] = {
    "protocol": "audited",
    "replies": {"asked": 16, "valid": 15, "salvaged": 2},
    "failed_replies": {"<b>": 1},
    "mean_agreement": 0.8125,
    "flip_rate": 0.25,
    "mean_score_by_position": [9.5, 9.0, 8.75],
    "contradictions": 3,
    "partial_lists": 1,
    "low_agreement_lists": 0,
    "degenerate": {"nothing but punctuation": 4},
    "canaries": {"plea": {"shown": 3, "answered": 2, "passed": 1}},
    "alarms": ["the judge put 1 of 2 canaries (plea) where they belong"],
}


def page(run: Run, **details: Any) -> str:
    run.states["by_checker"].details = details
    write_report(run)
    return (run.path / "report.html").read_text(encoding="utf-8")


def test_the_figures_of_a_judge_stand_in_a_table(fake_run: Run) -> None:
    html = page(fake_run, judge=HEALTH)
    table = html.partition("The judge of by_checker")[2].partition("</table>")[0]
    cells = re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", table)[2:]
    found = dict(zip(cells[::2], cells[1::2], strict=True))
    assert found["valid replies"] == "15 of 16"
    assert found["pairs that change places with the order (flip rate)"] == "25.0 %"
    assert found["agreement of the orders (Kendall&#39;s W, mean)"] == "0.812"
    assert found["mean score by the place in which a response was shown"] == "9.50, 9.00, 8.75"
    assert found["canaries passed: plea"] == "1 of 2"
    assert -1 < html.find("The stage by_checker: the judge put 1 of 2 canaries (plea)") < html.find("base answers")


@pytest.mark.parametrize("damaged", [None, "x", [], {}, {"replies": 3, "canaries": {"plea": 1}, "alarms": "x"}])
def test_damaged_records_and_other_rankers_have_no_such_table(fake_run: Run, damaged: Any) -> None:
    assert "The judge of" not in page(fake_run, judge=damaged, calls="x", failures=3, held_out=[])
