"""Ranking by a checker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunalm.calls.context import Calls
from tunalm.errors import DataError
from tunalm.ranking import verifier
from tunalm.ranking.verifier import VerifierRanker
from tunalm.recipe import Rank
from tunalm.records import Ranking, Response


@pytest.fixture(autouse=True)
def _tiny_checker(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(checker: dict[str, Any], response: str) -> float:
        return float(checker["word"] in response)

    monkeypatch.setattr(verifier, "check", check)


def ranked(checker: dict[str, Any] | None, *responses: Response) -> Ranking:
    settings = Rank(by="verifier", responses="responses.jsonl")
    row = Ranking(id="row-7", instruction="Use the word fish.", checker=checker, responses=list(responses))
    (result,) = VerifierRanker(settings, Calls(Path())).rank([row])
    return result


def test_right_stands_above_wrong_and_equals_tie() -> None:
    row = ranked({"word": "fish"}, *(Response(text=text) for text in ["bird", "a fish", "cat", "fish"]))
    assert [response.rank for response in row.responses] == [1, 0, 1, 0]
    assert [response.score for response in row.responses] == [0.0, 1.0, 0.0, 1.0]
    assert row.ranked_by == "verifier"


def test_a_list_without_a_right_response_is_all_ties() -> None:
    row = ranked({"word": "fish"}, Response(text="bird"), Response(text="cat"))
    assert [response.rank for response in row.responses] == [0, 0]


def test_a_failed_response_is_not_ranked() -> None:
    row = ranked({"word": "fish"}, Response(text="fish", failure="HTTP 500"), Response(text="fish"), Response(text="a"))
    assert [response.rank for response in row.responses] == [None, 0, 1]


def test_a_row_without_a_checker_is_named() -> None:
    with pytest.raises(DataError, match=r"responses\.jsonl: row 'row-7': no checker"):
        ranked(None, Response(text="fish"), Response(text="bird"))
