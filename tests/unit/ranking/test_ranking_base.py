"""Ranks from scores, and the stage as a whole: who is ranked, what is counted, what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.tiny import save_tiny_model, save_tiny_scorer
from tunalm import ranking
from tunalm.calls.context import Calls, StageContext
from tunalm.errors import DataError
from tunalm.ranking.base import assign_ranks
from tunalm.ranking.combining import open_ranker
from tunalm.recipe import RANKERS, Rank
from tunalm.records import Ranking, Response
from tunalm.store import Summary, read_rows, write_rows

KNOBS: dict[str, dict[str, Any]] = {
    "judge": {"engine": {"base_url": "https://h/v1", "model": "m"}},
    "simulated": {"pool": [{"engine": {"kind": "scripted"}}]},
}
"""What some rankers cannot do without."""
scores_strategy = st.lists(st.none() | st.floats(allow_nan=False), max_size=12)


def likelihoods(*logprobs: float | None, name: str = "row", **changes: Any) -> Ranking:
    """A row with one response of ten tokens per log-probability; None stands for a failed response."""
    responses = [
        Response(text="", failure="HTTP 500")
        if logprob is None
        else Response(text=f"text {number}", logprob=logprob, num_tokens=10)
        for number, logprob in enumerate(logprobs)
    ]
    return Ranking(id=name, instruction="Name a colour.", responses=responses, **changes)


def run(tmp_path: Path, *rows: Ranking, **knobs: Any) -> tuple[Summary, list[Ranking]]:
    write_rows(tmp_path / "responses.jsonl", rows)
    settings = Rank(by="likelihood", responses=str(tmp_path / "responses.jsonl"), **knobs)
    summary = ranking.run(settings, StageContext(tmp_path / "stage", tmp_path / "ledger.sqlite"))
    return summary, read_rows(tmp_path / "stage" / "rankings.jsonl", Ranking)


def test_a_score_that_is_no_number_is_an_error() -> None:
    with pytest.raises(ValueError, match="not a number"):
        assign_ranks([1.0, math.nan])


@given(scores_strategy)
def test_ranks_order_as_scores_do(scores: list[float | None]) -> None:
    ranks = assign_ranks(scores)
    present = {rank for rank in ranks if rank is not None}
    assert present == set(range(len(present)))
    for one, first in zip(scores, ranks, strict=True):
        assert (one is None) == (first is None)
        for other, second in zip(scores, ranks, strict=True):
            if one is not None and other is not None and first is not None and second is not None:
                assert (one > other) == (first < second)


def test_every_ranker_of_the_table_can_be_opened(tmp_path: Path) -> None:
    proxy = save_tiny_scorer(tmp_path / "proxy", save_tiny_model(tmp_path / "base"), max_length=64)
    knobs = {**KNOBS, "proxy": {"model": str(proxy)}}
    for by in RANKERS:
        settings = Rank.model_validate({"by": by, "responses": "x", **knobs.get(by, {})})
        ranker = open_ranker(settings, Calls(tmp_path / "ledger.sqlite"))
        assert ranker.name.startswith(by)
        assert ranker.rank([]) == []
        assert isinstance(ranker.figures(), dict)


def test_rows_and_responses_keep_their_order_and_only_ranks_are_filled_in(tmp_path: Path) -> None:
    before = [likelihoods(-9.0, -1.0, -5.0, name="b"), likelihoods(-1.0, -2.0, name="a", reference="Red.", task="t")]
    summary, after = run(tmp_path, *before)
    assert (summary.requested, summary.ok, summary.failed) == (2, 2, 0)
    assert [row.id for row in after] == ["b", "a"]
    assert [[response.rank for response in row.responses] for row in after] == [[2, 0, 1], [0, 1]]
    assert {row.ranked_by for row in after} == {"likelihood beta=1.3 length=tokens"}
    cleared = {"rank": None, "score": None}
    for old, new in zip(before, after, strict=True):
        restored = [response.model_copy(update=cleared) for response in new.responses]
        assert new.model_copy(update={"responses": restored, "ranked_by": None}) == old


def test_failed_responses_have_no_rank_and_short_lists_fail(tmp_path: Path) -> None:
    summary, after = run(tmp_path, likelihoods(-2.0, None, -1.0, name="a"), likelihoods(-2.0, None, name="b"))
    assert [response.rank for response in after[0].responses] == [1, None, 0]
    assert after[1].failure == "fewer than two responses"
    assert all(response.rank is None for response in after[1].responses)
    assert (summary.requested, summary.ok, summary.failed) == (2, 1, 1)
    assert summary.details["failures"] == {"fewer than two responses": 1}
    assert summary.details["unranked_responses"] == 1


def test_an_earlier_ranking_leaves_no_trace(tmp_path: Path) -> None:
    old = likelihoods(-2.0, -1.0, None, ranked_by="judge x", judgement={"kind": "open-ended"}, failure="cut")
    for response in old.responses:
        response.rank = response.score = 7
    _, (new,) = run(tmp_path, old)
    assert (new.failure, new.judgement, new.ranked_by) == (None, None, "likelihood beta=1.3 length=tokens")
    assert [response.rank for response in new.responses] == [1, 0, None]


def test_the_summary_tells_of_ties_and_lengths(tmp_path: Path) -> None:
    row = likelihoods(-1.0, -1.0, -2.0, name="a")
    row.responses[2].text = "a much longer text"
    summary, _ = run(tmp_path, row, likelihoods(-1.0, -1.0, name="b"))
    assert summary.details["tied_pairs"] == 0.5
    assert summary.details["all_tied_lists"] == 1
    assert summary.details["mean_characters_by_rank"] == {"0": 6.0, "1": 18.0}


@pytest.mark.parametrize("penalty", [-1, 10.1, math.inf, math.nan])
def test_a_length_penalty_that_leaves_no_number_is_refused(penalty: float) -> None:
    with pytest.raises(ValidationError, match="length_penalty"):
        Rank(by="likelihood", responses="x", length_penalty=penalty)


def test_lists_that_leave_nothing_to_rank_and_repeated_ids_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no rows"):
        run(tmp_path)
    with pytest.raises(DataError, match="num_responses: 2"):
        run(tmp_path, likelihoods(-1.0, name="a"), likelihoods(-1.0, name="b"))
    with pytest.raises(DataError, match="none of its 1 lists in rows '5:'"):
        run(tmp_path, likelihoods(-1.0, -2.0), rows="5:")
    with pytest.raises(DataError, match="id 'a' for the second time"):
        run(tmp_path, likelihoods(-1.0, -2.0, name="a"), likelihoods(-1.0, -2.0, name="a"))
