"""Eq. 3 from what an engine says of responses that others wrote."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tunalm import ranking
from tunalm.calls.context import StageContext
from tunalm.calls.spending import accounts
from tunalm.engines.scripted import ScriptedEngine
from tunalm.pipeline.running import run_recipe
from tunalm.recipe import Rank
from tunalm.recipe.loading import build_recipe
from tunalm.records import Ranking, Response
from tunalm.store import Summary, read_rows, write_rows

ENGINE = {"kind": "scripted", "replies": ["yes", "yes", "yes it is so", "no"]}


def likely(share: float, words: int) -> float:
    """Eq. 3 for a reply that the engine draws with this probability."""
    return math.log(share) / math.pow(words + 1, 1.3)


def answers(*texts: str, name: str = "row", **changes: Any) -> Ranking:
    responses = [Response(text=text, finish_reason="stop") for text in texts]
    return Ranking(id=name, instruction="Is it so?", responses=responses, **changes)


def run(tmp_path: Path, *rows: Ranking, **knobs: Any) -> tuple[Summary, list[Ranking]]:
    write_rows(tmp_path / "responses.jsonl", rows)
    fields = {"by": "likelihood", "engine": ENGINE, "responses": str(tmp_path / "responses.jsonl"), **knobs}
    context = StageContext(tmp_path / "stage", tmp_path / "ledger.sqlite")
    summary = ranking.run(Rank.model_validate(fields), context)
    return summary, read_rows(tmp_path / "stage" / "rankings.jsonl", Ranking)


def test_responses_without_log_probabilities_are_scored_by_the_engine(tmp_path: Path) -> None:
    summary, (row,) = run(tmp_path, answers("no", "yes", "yes it is so"))
    expected = [likely(0.25, 1), likely(0.5, 1), likely(0.25, 4)]
    assert [response.score for response in row.responses] == pytest.approx(expected)
    assert [response.rank for response in row.responses] == [2, 1, 0]
    assert [response.logprob for response in row.responses] == [None] * 3  # nothing of the sampler is overwritten
    assert row.ranked_by == "likelihood beta=1.3 length=tokens scored by scripted"
    judgement = row.judgement or {}
    assert judgement["num_tokens"] == [2, 2, 5]
    assert judgement["logprobs"] == pytest.approx([math.log(share) for share in (0.25, 0.5, 0.25)])
    assert summary.details["responses_scored"] == 3
    assert summary.details["scored_by"] == judgement["scored_by"]


def test_the_length_may_be_counted_in_characters(tmp_path: Path) -> None:
    _, (row,) = run(tmp_path, answers("no", "yes it is so"), length_unit="characters")
    expected = [math.log(0.25) / len(text) ** 1.3 for text in ("no", "yes it is so")]
    assert [response.score for response in row.responses] == pytest.approx(expected)
    assert row.ranked_by == "likelihood beta=1.3 length=characters scored by scripted"


def test_another_length_penalty_asks_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [answers("no", "yes", name="a"), answers("yes it is so", "no", name="b")]
    _, before = run(tmp_path, *rows)
    (account,) = accounts(tmp_path / "ledger.sqlite").values()
    assert account.answered == 3  # "no" stands twice under one instruction
    monkeypatch.setattr(ScriptedEngine, "_answer", lambda *_: pytest.fail("the engine was asked"))
    _, after = run(tmp_path, *rows, length_penalty=0.0)
    assert [response.rank for response in before[1].responses] == [0, 1]
    assert [response.rank for response in after[1].responses] == [0, 0]
    assert accounts(tmp_path / "ledger.sqlite") == {next(iter(accounts(tmp_path / "ledger.sqlite"))): account}


def test_another_length_penalty_with_stored_log_probabilities_asks_nobody(tmp_path: Path) -> None:
    row = answers("a b", "c")
    for response, logprob, num_tokens in zip(row.responses, (-4.0, -9.0), (4, 8), strict=True):
        response.logprob, response.num_tokens = logprob, num_tokens
    write_rows(tmp_path / "r.jsonl", [row])
    stage = {"kind": "rank", "by": "likelihood", "responses": str(tmp_path / "r.jsonl")}
    for beta, ranks in ((1.0, [0, 1]), (1.3, [1, 0])):
        recipe = build_recipe({"name": "x", "stages": {"by": {**stage, "length_penalty": beta}}})
        states = run_recipe(recipe, tmp_path / "run")
        assert "calls" not in states["by"].details
        (row,) = read_rows(tmp_path / "run" / "by" / "rankings.jsonl", Ranking)
        assert [response.rank for response in row.responses] == ranks
    assert not (tmp_path / "run" / "ledger.sqlite").exists()


def test_the_reference_is_one_more_candidate_if_asked(tmp_path: Path) -> None:
    rows = [answers("no", "yes", name="a", reference="yes it is so"), answers("no", "yes", name="b")]
    _, (with_reference, without) = run(tmp_path, *rows, rank_reference=True)
    assert [response.text for response in with_reference.responses] == ["no", "yes", "yes it is so"]
    assert [response.rank for response in with_reference.responses] == [2, 1, 0]
    assert with_reference.responses[2].model == "reference"
    assert (with_reference.judgement or {})["reference_place"] == 2
    assert with_reference.reference == "yes it is so"  # Eq. 6 learns it as before
    assert len(without.responses) == 2
    assert (without.judgement or {})["reference_place"] is None


def test_what_the_engine_cannot_score_is_unranked_with_its_reason(tmp_path: Path) -> None:
    rows = [answers("no", "maybe", "yes", name="a"), answers("maybe", "no", name="b")]
    summary, (some, few) = run(tmp_path, *rows)
    assert [response.rank for response in some.responses] == [1, None, 0]
    assert (some.judgement or {})["not_scored"] == {"1": "a text that is never drawn"}
    assert few.failure == "fewer than two responses have a score: a text that is never drawn"
    assert all(response.rank is None for response in few.responses)
    assert (summary.ok, summary.failed) == (1, 1)
    assert summary.details["responses_not_scored"] == 2
    assert summary.details["reasons_not_scored"] == {"a text that is never drawn": 2}


def test_a_response_that_was_cut_is_scored_without_an_end_and_apart_from_one_that_ended(tmp_path: Path) -> None:
    row = answers("yes", "yes", "yes")
    row.responses[0].finish_reason = "length"
    _, (found,) = run(tmp_path, row)
    assert (found.judgement or {})["num_tokens"] == [1, 2, 2]
    assert [response.rank for response in found.responses] == [1, 0, 0]


@pytest.mark.parametrize(
    ("knobs", "complaint"),
    [
        ({"by": "verifier", "rank_reference": True}, "rank_reference needs by: likelihood"),
        ({"by": "likelihood", "rank_reference": True}, "rank_reference needs by: likelihood"),
        ({"by": "likelihood", "verifier": "a.py:f"}, "this stage has neither"),
        ({"by": "verifier", "veto": "verifier"}, "adds nothing"),
        ({"by": "likelihood", "fallback": "judge", "engine": ENGINE}, "not by: likelihood"),
        ({"by": "verifyer"}, "Did you mean 'verifier'"),
        ({"by": "verifier", "options": {"x": 1}}, "options are for a ranker of your own"),
        ({"by": "mine.py:X", "fallback": "judge"}, "fallback: judge needs an engine"),
        ({"by": "simulated"}, "go together"),
        ({"by": "likelihood", "pool": [{"engine": ENGINE}]}, "go together"),
    ],
    ids=lambda value: value.split(":")[0] if isinstance(value, str) else "-".join(value),
)
def test_knobs_that_do_not_go_together_are_refused(knobs: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Rank.model_validate({"responses": "x", **knobs})
