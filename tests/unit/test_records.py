"""Rows that cross a border between stages."""

from __future__ import annotations

import pytest

from tunalm.records import Instruction, Ranking, Response


def ranking(*ranks: int | None) -> Ranking:
    return Ranking(
        id="1", instruction="Go.", responses=[Response(text=f"t{n}", rank=rank) for n, rank in enumerate(ranks)]
    )


def test_an_instruction_becomes_a_list_that_is_not_ranked_and_keeps_the_users_fields() -> None:
    row = Instruction.model_validate({"id": "a", "instruction": "Go.", "ranked_by": "judge", "note": "kept"})
    made = row.with_responses([Response(text="x")])
    assert (made.ranked, made.ranked_by, made.model_dump()["note"]) == (False, None, "kept")
    assert ranking(0, 1).with_responses([]).responses == []


@pytest.mark.parametrize(("ranks", "ranked"), [((None, None), False), ((0, None), True), ((), False)])
def test_a_list_says_whether_it_is_ranked(ranks: tuple[int | None, ...], ranked: bool) -> None:
    assert ranking(*ranks).ranked == ranked


@pytest.mark.parametrize(
    ("ranks", "dense"),
    [((10, 70, 10), [0, 1, 0]), ((2, None, 1), [1, None, 0]), ((0, 1, 1), [0, 1, 1]), ((None, None), [None, None])],
)
def test_ranks_are_made_dense(ranks: tuple[int | None, ...], dense: list[int | None]) -> None:
    assert [response.rank for response in ranking(*ranks).with_dense_ranks().responses] == dense


def test_an_empty_or_failed_response_has_no_rank() -> None:
    row = ranking(0, 1, 2)
    row.responses[0].text = " \n"
    row.responses[1].failure = "HTTP 500"
    assert [response.rank for response in row.with_dense_ranks().responses] == [None, None, 0]
