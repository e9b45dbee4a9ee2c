"""Ranking by a trained proxy: its order, how sure it is, what it cannot rank."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.tiny import save_tiny_model, save_tiny_scorer
from tunalm.calls.context import Calls
from tunalm.errors import ModelError
from tunalm.ranking.proxy import ProxyRanker, confidence
from tunalm.recipe import Rank
from tunalm.records import Ranking, Response


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("base") / "base", initializer_range=0.3)


@pytest.fixture(scope="module")
def folder(language_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random scorer."""
    return save_tiny_scorer(tmp_path_factory.mktemp("proxy") / "prm" / "model", language_model, max_length=80)


@pytest.fixture
def make_ranker(folder: Path, tmp_path: Path) -> Callable[[], ProxyRanker]:
    def make() -> ProxyRanker:
        settings = Rank(by="proxy", model=str(folder), responses="unused")
        return ProxyRanker(settings, Calls(tmp_path / "ledger.sqlite"))

    return make


def make_rows(count: int) -> list[Ranking]:
    return [
        Ranking(
            id=f"row-{number}",
            instruction=f"Say {number}",
            responses=[Response(text="x" * (place + number) + str(place)) for place in range(3)],
        )
        for number in range(count)
    ]


def test_responses_are_ranked_by_what_transformers_says_of_them(
    make_ranker: Callable[[], ProxyRanker], folder: Path
) -> None:
    rows = make_rows(5)
    ranked = make_ranker().rank(rows)
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    for row in ranked:
        expected = []
        for response in row.responses:
            turns = [{"role": "user", "content": row.instruction}, {"role": "assistant", "content": response.text}]
            text = str(tokenizer.apply_chat_template(turns, tokenize=False)).removesuffix(tokenizer.eos_token)
            with torch.no_grad():
                expected.append(float(model(**tokenizer(text, add_special_tokens=False, return_tensors="pt")).logits))
        assert [each.score for each in row.responses] == pytest.approx(expected, abs=1e-5)
        assert [each.rank for each in row.responses] == [
            sorted(expected, reverse=True).index(score) for score in expected
        ]
        assert row.ranked_by == "proxy prm"
        strengths = [math.exp(score) for score in expected]
        assert row.judgement == {"confidence": pytest.approx(max(strengths) / sum(strengths), abs=1e-4)}
    assert [row.id for row in ranked] == [row.id for row in rows]


def test_equal_texts_tie_and_unusable_ones_are_not_ranked(make_ranker: Callable[[], ProxyRanker]) -> None:
    texts = [Response(text="same"), Response(text="same"), Response(text="", failure="lost"), Response(text="other")]
    ranker = make_ranker()
    [row] = ranker.rank([Ranking(id="a", instruction="Say", responses=texts)])
    assert row.responses[0].rank == row.responses[1].rank is not None
    assert row.responses[2].rank is row.responses[2].score is None
    assert {row.responses[0].rank, row.responses[3].rank} == {0, 1}
    assert ranker.figures() == {
        "mean_confidence": pytest.approx(row.judgement["confidence"], abs=1e-3) if row.judgement else None,
        "proxy_reads_tokens": 80,
    }


def test_a_long_response_is_cut_and_a_long_instruction_fails(make_ranker: Callable[[], ProxyRanker]) -> None:
    cut = [Response(text="y" * 100), Response(text="y" * 200)]
    responses, long = make_ranker().rank(
        [
            Ranking(id="a", instruction="Say", responses=cut),
            Ranking(id="b", instruction="Say " * 30, responses=[Response(text="a"), Response(text="b")]),
        ]
    )
    assert responses.responses[0].score == pytest.approx(responses.responses[1].score, abs=1e-5)
    assert long.failure == "the instruction fills the 80 tokens that the proxy reads"
    assert all(response.rank is None for response in long.responses)


def test_a_broken_proxy_is_one_line(make_ranker: Callable[[], ProxyRanker]) -> None:
    ranker = make_ranker()
    ranker._scorer._model.score.weight.data.fill_(torch.nan)
    with pytest.raises(ModelError, match="a score that is not a number"):
        ranker.rank(make_rows(2))


def test_confidence_is_the_share_of_the_best() -> None:
    assert confidence([0.0, 0.0]) == pytest.approx(1.0)  # both are ranked first
    assert confidence([math.log(3), 0.0]) == pytest.approx(0.75)
    assert confidence([1000.0, None, 0.0]) == pytest.approx(1.0)


def test_a_model_that_was_not_trained_to_score_is_refused(language_model: Path, tmp_path: Path) -> None:
    settings = Rank(by="proxy", model=str(language_model), responses="unused")
    with pytest.raises(ModelError, match="not trained to score"):
        ProxyRanker(settings, Calls(tmp_path / "ledger.sqlite"))


@pytest.mark.parametrize("knobs", [{"by": "proxy"}, {"by": "verifier", "model": "some/model"}])
def test_a_model_and_by_proxy_go_together(knobs: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="go together"):
        Rank(responses="unused", **knobs)
