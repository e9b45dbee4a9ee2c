"""Eq. 3, and ranking by it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tunalm
from tunalm.calls.context import Calls
from tunalm.errors import DataError
from tunalm.measures.equation3 import likelihood_score
from tunalm.ranking.likelihood import LikelihoodRanker
from tunalm.recipe import Rank
from tunalm.records import Ranking, Response


def ranked(*responses: Response, beta: float = 1.3) -> Ranking:
    settings = Rank(by="likelihood", responses="responses.jsonl", length_penalty=beta)
    row = Ranking(id="row-7", instruction="Name a colour.", responses=list(responses))
    (result,) = LikelihoodRanker(settings, Calls(Path())).rank([row])
    return result


def drawn(text: str, logprob: float | None, num_tokens: int | None, **changes: Any) -> Response:
    return Response(text=text, logprob=logprob, num_tokens=num_tokens, **changes)


def test_the_score_is_equation_3() -> None:
    assert likelihood_score(-12.0, 8) == pytest.approx(-12.0 / 8**1.3)
    assert likelihood_score(-12.0, 8, length_penalty=1.0) == -1.5
    assert likelihood_score(-12.0, 8, length_penalty=0.0) == -12.0
    assert likelihood_score(0.0, 1) == 0.0
    assert likelihood_score(-math.inf, 3) == -math.inf
    assert tunalm.likelihood_score is likelihood_score


@pytest.mark.parametrize(("logprob", "num_tokens"), [(-1.0, 0), (-1.0, -2), (0.1, 3), (math.nan, 3)])
def test_impossible_numbers_are_refused(logprob: float, num_tokens: int) -> None:
    with pytest.raises(ValueError, match="is"):
        likelihood_score(logprob, num_tokens)


@given(st.floats(-1e4, -1e-3), st.integers(1, 4000), st.floats(0.1, 3.0))
def test_of_two_equal_log_likelihoods_the_longer_response_is_better(logprob: float, length: int, beta: float) -> None:
    shorter = likelihood_score(logprob, length, length_penalty=beta)
    assert likelihood_score(logprob, length + 1, length_penalty=beta) >= shorter
    assert likelihood_score(logprob * 2, length, length_penalty=beta) == pytest.approx(2 * shorter)


def test_beta_decides_between_short_and_long() -> None:
    short, long = drawn("short", -4.0, 4), drawn("long", -9.0, 8)
    assert [response.rank for response in ranked(short, long, beta=1.0).responses] == [0, 1]
    assert [response.rank for response in ranked(short, long, beta=1.3).responses] == [1, 0]


def test_the_score_is_kept_beside_the_rank() -> None:
    row = ranked(drawn("a", -4.0, 4), drawn(" ", -0.1, 1), drawn("b", -2.0, 4))
    assert [response.score for response in row.responses] == pytest.approx([-4 / 4**1.3, None, -2 / 4**1.3])
    assert [response.rank for response in row.responses] == [1, None, 0]
    assert row.ranked_by == "likelihood beta=1.3 length=tokens"


def test_one_text_drawn_twice_is_a_tie_whatever_the_rounding() -> None:
    row = ranked(drawn("Red.", -4.0, 4), drawn("Blue.", -5.0, 4), drawn("Red.", -4.0 - 1e-6, 4))
    assert [response.rank for response in row.responses] == [0, 1, 0]


@pytest.mark.parametrize(("logprob", "num_tokens"), [(None, 4), (-1.0, None)])
def test_a_row_without_log_probabilities_is_named(logprob: float | None, num_tokens: int | None) -> None:
    with pytest.raises(DataError, match=r"responses\.jsonl: row 'row-7', response 1: .*logprobs: true"):
        ranked(drawn("a", -4.0, 4), drawn("b", logprob, num_tokens))


def test_a_row_with_impossible_numbers_is_named() -> None:
    with pytest.raises(DataError, match="row 'row-7', response 0: num_tokens is 0"):
        ranked(drawn("a", -4.0, 0), drawn("b", -4.0, 4))
