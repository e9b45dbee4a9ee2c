"""What the report says of a judge, and of people who judged."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tunalm.reporting.report import write_report
from tunalm.reporting.run import Run
from tunalm.store import write_json

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


@pytest.mark.parametrize("agreement", [{"kendall_w": 0.614, "alpha": 0.5}, {}])
def test_a_human_study_has_the_table_of_the_paper(fake_run: Run, agreement: dict[str, float]) -> None:
    systems = [{"name": "<tuna>", "points": 3.456, "interval": [3.1, 3.8]}, {"name": "alpaca", "points": 1.5}]
    counts = {"questions": 40, "ratings": 80, "unfinished": 0, "checks_passed": 2, "checks_answered": 2}
    (fake_run.path / "study").mkdir()
    wins = [{"system": "<tuna>", "against": "alpaca", "wins": 6, "ties": 3, "losses": 1}]
    scores = {"systems": systems, "wins": wins, "median_seconds": 30.0} | counts | agreement
    write_json(fake_run.path / "study" / "scores.json", scores)
    shown = re.sub(r"\s*<[^>]*>\s*", "|", page(fake_run).partition("<h2>Human study")[2].partition("</section>")[0])
    assert "system||points||95 %||beats &lt;tuna&gt;||beats alpaca|" in shown
    assert "&lt;tuna&gt;||3.46||3.10 to 3.80||-||75.0 %|" in shown
    assert "alpaca||1.50||-||25.0 %||-|" in shown
    expected = (
        "Kendall's W\n0.61, Krippendorff's alpha 0.50." if agreement else "Kendall's W\n-, Krippendorff's alpha -."
    )
    assert f"80 ratings of 40 questions; agreement of the raters: {expected}" in shown
