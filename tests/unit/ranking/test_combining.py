"""Rankers made of rankers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunalm.errors import DataError
from tunalm.pipeline.running import run_recipe
from tunalm.ranking.base import unranked, with_scores
from tunalm.ranking.combining import Fallback, Veto, judge_calls
from tunalm.ranking.verifier import Checks, FunctionRanker
from tunalm.recipe import Rank
from tunalm.recipe.loading import build_recipe
from tunalm.records import Ranking, Response
from tunalm.store import read_rows, write_rows

Scores = Callable[[Ranking], list[float | None] | None]


class Fixed:
    """A ranker whose scores are known; None fails a list."""

    def __init__(self, name: str, scores: Scores, confidence: Callable[[Ranking], float | None] | None = None) -> None:
        self.name, self._scores, self._confidence = name, scores, confidence
        self.asked: list[str] = []

    def rank(self, rows: Sequence[Ranking]) -> list[Ranking]:
        """Rank by the known scores."""
        self.asked += [row.id for row in rows]
        ranked = []
        for row in rows:
            assert row.judgement is None
            scores = self._scores(row)
            judgement = None if self._confidence is None else {"confidence": self._confidence(row)}
            ranked.append(
                unranked(row, f"{self.name} failed")
                if scores is None
                else with_scores(row, scores, self.name, judgement)
            )
        return ranked

    def figures(self) -> dict[str, Any]:
        """How many lists were asked."""
        return {f"{self.name}_lists": len(self.asked)}


class Marked(FunctionRanker):
    """A verifier that reads its scores in the texts: `0.5 some words`; `?` cannot be checked."""

    def __init__(self, has_checker: Callable[[Ranking], bool] = lambda row: True) -> None:
        super().__init__(lambda instruction, text: float(text.split()[0]), "marks", noun="mark")
        self._has_checker = has_checker

    def check(self, row: Ranking) -> Checks | None:
        return super().check(row) if self._has_checker(row) else None


ILLEGIBLE = "the mark failed: ValueError: could not convert string to float: '?'"


def row(*texts: str, name: str = "row") -> Ranking:
    return Ranking(id=name, instruction="Say.", responses=[Response(text=text) for text in texts])


def by_place(row: Ranking) -> list[float | None]:
    """The first is the best."""
    return [-float(place) for place in range(len(row.responses))]


def ranks(row: Ranking) -> list[int | None]:
    return [response.rank for response in row.responses]


def test_what_is_wrong_stands_below_all_that_is_right_in_the_order_of_the_ranker() -> None:
    veto = Veto(Fixed("main", by_place), Marked())
    (found,) = veto.rank([row("0 a", "1 b", "0.5 c", "1 d")])
    assert ranks(found) == [2, 0, 3, 1]
    assert [response.score for response in found.responses] == [0, -1, -2, -3]  # what the ranker gave
    assert found.ranked_by == "main, veto marks"
    assert (found.judgement or {})["veto"] == {"scores": [0, 1, 0.5, 1], "ranks_before": [0, 1, 2, 3]}
    figures = veto.figures()
    assert figures["main_lists"] == 1
    assert figures["veto"]["responses_wrong"] == 2
    assert figures["veto"]["best_changed"] == 1


@pytest.mark.parametrize(
    ("texts", "scores", "below", "expected"),
    [(["0.4 a", "0.5 b", "1 c"], [3, 2, 1], 0.5, [2, 0, 1]), (["1 a", "0 b", "1 c"], [1, 1, 1], 1, [0, 1, 0])],
    ids=["how much is wrong can be set", "ties stay within a group"],
)
def test_a_veto_splits_a_list_in_two(
    texts: list[str], scores: list[float | None], below: float, expected: list[int]
) -> None:
    (found,) = Veto(Fixed("main", lambda row: scores), Marked(), below).rank([row(*texts)])
    assert ranks(found) == expected


def test_what_cannot_be_checked_is_not_ranked_and_too_few_fail() -> None:
    veto = Veto(Fixed("main", by_place), Marked())
    some, few = veto.rank([row("? a", "0 b", "1 c", name="a"), row("? a", "1 b", name="b")])
    assert ranks(some) == [None, 1, 0]
    assert (some.judgement or {})["veto"]["not_scored"] == {"0": ILLEGIBLE}
    assert few.failure == f"fewer than two responses could be checked: {ILLEGIBLE}"
    assert ranks(few) == [None, None]
    assert veto.figures()["veto"]["responses_not_checked"] == 2


def test_a_list_without_a_checker_keeps_its_ranks_and_one_that_failed_stays_so() -> None:
    main = Fixed("main", lambda row: None if row.id == "bad" else by_place(row))
    veto = Veto(main, Marked(lambda row: row.id == "checked"))
    checked, free, bad = veto.rank([row("0 a", "1 b", name="checked"), row("0 a", "1 b", name="free"), row(name="bad")])
    assert (ranks(checked), ranks(free)) == ([1, 0], [0, 1])
    assert bad.failure == "main failed"
    with pytest.raises(DataError, match="no list with a checker"):
        Veto(Fixed("main", by_place), Marked(lambda row: False)).rank([row("0 a", "1 b")])


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.none() | st.integers(0, 3)), min_size=2, max_size=7))
def test_a_veto_never_puts_wrong_above_right_nor_changes_an_order_within_a_group(
    pairs: list[tuple[float, int | None]],
) -> None:
    given_scores: list[float | None] = [None if score is None else float(score) for _, score in pairs]
    before = row(*(f"{mark} x" for mark, _ in pairs))
    (after,) = Veto(Fixed("main", lambda row: given_scores), Marked()).rank([before])
    known = {rank for rank in ranks(after) if rank is not None}
    assert known == set(range(len(known)))
    for (one, first), rank in zip(pairs, ranks(after), strict=True):
        assert (rank is None) == (first is None)
        for (other, second), another in zip(pairs, ranks(after), strict=True):
            if first is None or second is None or rank is None or another is None:
                continue
            if (one < 1) == (other < 1):
                assert (first > second) == (rank < another)
            elif one == 1:
                assert rank < another


def at_least(least: float) -> Rank:
    fields = {"by": "mine.py:X", "fallback": "judge", "engine": {"kind": "scripted"}, "responses": "x"}
    return Rank.model_validate({**fields, "min_confidence": least})


def confident(**by_id: float | None) -> Callable[[Ranking], float | None]:
    return lambda row: by_id.get(row.id)


def test_only_lists_that_the_first_is_not_sure_of_are_asked_of_the_second() -> None:
    first = Fixed(
        "small", lambda row: None if row.id == "d" else by_place(row), confident(a=0.9, b=0.79, c=0.8, e=None)
    )
    second = Fixed("big", lambda row: [-score for score in by_place(row) if score is not None])
    both = Fallback(first, second, at_least(0.8))
    found = both.rank([row("x", "y", name=name) for name in "abcde"])
    assert [each.id for each in found] == list("abcde")
    assert second.asked == ["b", "d", "e"]
    assert [ranks(each)[0] for each in found] == [0, 1, 0, 1, 1]
    assert [each.ranked_by for each in found] == ["small", "big", "small", "big", "big"]
    assert [(each.judgement or {}).get("first_confidence") for each in found] == [None, 0.79, None, None, None]
    figures = both.figures()
    assert figures["lists_by"] == {"small": 2, "big": 3}
    assert figures["calls_saved"] == 4  # two lists of two, each in both orders
    assert (figures["small_lists"], figures["big_lists"]) == (5, 3)


def test_a_second_that_is_not_needed_is_not_asked() -> None:
    second = Fixed("big", by_place)
    (found,) = Fallback(Fixed("small", by_place, confident(row=1.0)), second, at_least(0.8)).rank([row("x", "y")])
    assert second.asked == []
    assert (found.judgement or {})["confidence"] == 1.0


def test_a_list_that_both_fail_is_a_failure_with_the_reason_of_the_second() -> None:
    both = Fallback(Fixed("small", lambda row: None), Fixed("big", lambda row: None), at_least(0.5))
    (found,) = both.rank([row("x", "y")])
    assert found.failure == "big failed"


def test_a_veto_composes_with_a_fallback() -> None:
    inner = Fallback(Fixed("small", by_place, confident(a=0.9, b=0.1)), Fixed("big", by_place), at_least(0.8))
    sure, unsure = Veto(inner, Marked()).rank([row("0 x", "1 y", name="a"), row("0 x", "1 y", name="b")])
    assert ranks(sure) == ranks(unsure) == [1, 0]
    assert (sure.ranked_by, unsure.ranked_by) == ("small, veto marks", "big, veto marks")
    assert (unsure.judgement or {})["first_confidence"] == 0.1


def test_calls_saved_are_those_that_the_judge_would_have_made() -> None:
    engine = {"kind": "scripted"}
    fields = {"by": "mine.py:X", "fallback": "judge", "engine": engine, "responses": "x"}
    lists = [("a", "b", "c", "d"), ("a", "b"), ("a", "a", "b"), ("a", "a")]
    rows = [row(*texts, name=str(number)) for number, texts in enumerate(lists)]
    assert judge_calls(rows, Rank.model_validate({**fields, "num_orders": 4})) == 4 + 2 + 2 + 0
    assert judge_calls(rows, Rank.model_validate({**fields, "protocol": "paper"})) == 3


def test_the_figures_of_a_combination_are_in_the_record_and_in_the_report(tmp_path: Path) -> None:
    (tmp_path / "checks.py").write_text("def short(instruction, text):\n    return len(text) < 3\n")
    given = row("long text", "ok", "no")
    for response, logprob in zip(given.responses, (-1.0, -3.0, -2.0), strict=True):
        response.logprob, response.num_tokens = logprob, 3
    write_rows(tmp_path / "responses.jsonl", [given])
    stage = {"kind": "rank", "by": "likelihood", "responses": str(tmp_path / "responses.jsonl"), "veto": "verifier"}
    stages = {"ranked": {**stage, "verifier": f"{tmp_path / 'checks.py'}:short"}}
    states = run_recipe(build_recipe({"name": "x", "stages": stages}), tmp_path / "run")
    (found,) = read_rows(tmp_path / "run" / "ranked" / "rankings.jsonl", Ranking)
    assert ranks(found) == [2, 1, 0]
    veto = states["ranked"].details["veto"]
    assert (veto["responses_wrong"], veto["lists_changed"]) == (1, 1)
    assert "responses_wrong: 1" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
