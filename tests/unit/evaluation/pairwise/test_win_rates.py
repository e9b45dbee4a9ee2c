"""Comparisons added up."""

from __future__ import annotations

import pytest

from tunalm.evaluation.pairwise.comparisons import METRIC, POINTS, Outcome, PairVerdict
from tunalm.evaluation.pairwise.winrates import results, win_rates


def comparison(outcome: Outcome | None, orders: list[Outcome | None] | None = None, **fields: object) -> PairVerdict:
    score = None if outcome is None else POINTS[outcome]
    failure = None if outcome else "the reply has no verdict"
    base = {"id": "q", "benchmark": "vicuna", "model": "tuna", "metric": METRIC, "against": "alpaca"}
    return PairVerdict.model_validate(
        {**base, "outcome": outcome, "score": score, "failure": failure, "orders": orders or [], **fields}
    )


def test_shares_are_of_all_questions_and_add_up() -> None:
    rows = [comparison("win"), comparison("win"), comparison("tie"), comparison("loss"), comparison(None)]
    found = win_rates(rows, 200, 0)
    assert [found[name] for name in ("win", "tie", "loss", "unjudged")] == [40.0, 20.0, 20.0, 20.0]
    assert found["adjusted_win_rate"] == pytest.approx(100 * 2.5 / 4)
    assert found["judged"] == 4


def test_swap_consistency_and_the_slot_a_judge_likes() -> None:
    rows = [
        comparison("win", ["win", "win"]),
        comparison("tie", ["win", "loss"]),
        comparison("tie", ["win", "loss"]),
        comparison("tie", ["loss", "win"]),
        comparison("tie", ["tie", "win"]),
        comparison(None, [None, "win"]),
    ]
    found = win_rates(rows, 200, 0)
    assert found["swap_consistency"] == 20.0
    assert (found["first_slot"], found["second_slot"]) == (1, 2)


def test_nothing_that_can_be_read_is_no_win_rate() -> None:
    found = win_rates([comparison(None), comparison(None)], 200, 0)
    assert (found["adjusted_win_rate"], found["unjudged"], found["judged"]) == (None, 100.0, 0)
    assert "swap_consistency" not in found


def test_an_answer_that_failed_is_lost_and_counted() -> None:
    lost = comparison("loss", failure="timed out", score=None)
    found = win_rates([lost, comparison("win")], 200, 0)
    assert (found["loss"], found["lost_without_answer"], found["unjudged"]) == (50.0, 1, 0.0)


def test_a_clear_winner_is_significant_and_an_even_one_is_not() -> None:
    clear = win_rates([comparison("win")] * 20 + [comparison("loss")] * 2, 500, 0)
    even = win_rates([comparison("win"), comparison("loss")] * 10, 500, 0)
    assert clear["adjusted_win_rate_p_value"] < 0.01
    assert clear["adjusted_win_rate_ci95"][0] > 50
    assert even["adjusted_win_rate_p_value"] > 0.5


def test_the_results_file_has_the_harness_shape_and_corrects_for_several_groups() -> None:
    groups = {
        "one": [comparison("win", task="math")] * 12,
        "two": [comparison("win", task="math"), comparison("loss", task="math")] * 6,
    }
    found = results("vicuna", groups, {"mode": "sound"}, samples=200)
    assert set(found) >= {"results", "configs", "versions", "n-shot", "n-samples", "group_subtasks"}
    assert found["group_subtasks"]["vicuna_one"] == ["vicuna_one_math"]
    assert found["results"]["vicuna_two_math"]["adjusted_win_rate"] == 50.0
    one = found["results"]["vicuna_one"]
    assert one["adjusted_win_rate_p_holm"] == pytest.approx(2 * one["adjusted_win_rate_p_value"])
    assert one["complete"] is False
    assert found["n-samples"]["vicuna_one"] == {"original": 80, "effective": 12}
