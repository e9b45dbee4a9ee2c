"""Ranked lists in the formats of others."""

from __future__ import annotations

from itertools import combinations
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunalm.data.exports import Exporter, Pairing, Target
from tunalm.records import Message, Ranking, Response

LISTS = st.lists(st.tuples(st.sampled_from("abcdef"), st.none() | st.integers(0, 3)), max_size=6)


def make_list(*responses: tuple[str, int | None], **fields: Any) -> Ranking:
    made = [Response(text=text, rank=rank) for text, rank in responses]
    return Ranking(id="a", instruction="Add.", input="1 2", responses=made, **fields)


def export(target: Target, pairing: Pairing | None, *rows: Ranking) -> tuple[list[dict[str, Any]], dict[str, int]]:
    exporter = Exporter(target, pairing)
    return list(exporter.rows(rows)), dict(exporter.counts)


def pairs_of(rows: list[dict[str, Any]]) -> list[str]:
    return [row["chosen"][0]["content"] + row["rejected"][0]["content"] for row in rows]


def test_a_preference_row_is_a_conversation() -> None:
    row = make_list(("x", 1), ("y", 0), history=[Message(role="system", content="Be short.")])
    rows, counts = export("trl-pairs", None, row)
    assert rows == [
        {
            "id": "a",
            "prompt": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Add.\n\n1 2"}],
            "chosen": [{"role": "assistant", "content": "y"}],
            "rejected": [{"role": "assistant", "content": "x"}],
        }
    ]
    assert counts == {"lists": 1, "rows": 1}
    tied, _ = export("trl-pairs", "best-worst", make_list(("c", 1), ("a", 0), ("d", 1), ("b", 0)))
    assert pairs_of(tied) == ["ac"], "the first of the best and the first of the worst"


def test_a_triple_has_the_reference_too() -> None:
    rows, counts = export("trl-tpo", None, make_list(("x", 0), ("y", 1), reference="3"), make_list(("x", 0), ("y", 1)))
    assert [row["reference"] for row in rows] == [[{"role": "assistant", "content": "3"}]]
    assert counts["lists without a reference"] == 1


@pytest.mark.parametrize(
    ("pairing", "expected", "tied"),
    [
        ("best-worst", ["ad"], 0),
        ("adjacent", ["ab", "ac", "bd", "cd"], 1),
        ("all", ["ab", "ac", "ad", "bd", "cd"], 1),
    ],
)
def test_pairs_of_a_list_with_a_tie(pairing: Pairing, expected: list[str], tied: int) -> None:
    row = make_list(("a", 0), ("d", 5), ("b", 2), ("c", 2), ("z", None))
    rows, counts = export("trl-pairs", pairing, row)
    assert pairs_of(rows) == expected
    assert counts.get("tied pairs", 0) == tied
    as_nemo_rl, _ = export("nemo-rl", pairing, row)
    assert [[each["rank"] for each in made["completions"]] for made in as_nemo_rl] == [[0, 1]] * len(expected)


def test_what_teaches_nothing_is_left_out_and_counted() -> None:
    failed = make_list(("x", 0), ("y", 1), failure="no JSON")
    rows, counts = export(
        "trl-pairs", "all", failed, make_list(("x", 0)), make_list(("x", 0), ("x", 1)), make_list(("x", 0), ("y", 0))
    )
    assert rows == []
    assert counts == {
        "lists": 4,
        "failed lists": 1,
        "lists without two ranked responses": 1,
        "pairs of equal texts": 1,
        "tied pairs": 1,
    }


def test_llama_factory_and_axolotl_have_turns_of_their_own() -> None:
    row = make_list(("x", 1), ("y", 0), history=[Message(role="system", content="Be short.")])
    (theirs,), _ = export("llama-factory", None, row)
    assert theirs["conversations"] == [
        {"from": "system", "value": "Be short."},
        {"from": "human", "value": "Add.\n\n1 2"},
    ]
    assert (theirs["chosen"], theirs["rejected"]) == ({"from": "gpt", "value": "y"}, {"from": "gpt", "value": "x"})
    (other,), _ = export("axolotl", None, row)
    assert other["messages"][0] == {"role": "system", "content": "Be short."}
    assert (other["chosen"]["content"], other["rejected"]["content"]) == ("y", "x")
    twice = row.model_copy(update={"history": [Message(role="user", content="Hello?")]})
    assert export("llama-factory", None, twice) == ([], {"lists": 1, "lists whose turns do not alternate": 1})


def test_nemo_rl_takes_whole_lists_with_their_ties_best_first() -> None:
    rows, _ = export("nemo-rl", None, make_list(("x", 1), ("y", 0), ("z", 1)))
    assert rows == [
        {
            "context": [{"role": "user", "content": "Add.\n\n1 2"}],
            "completions": [
                {"rank": 0, "completion": [{"role": "assistant", "content": "y"}]},
                {"rank": 1, "completion": [{"role": "assistant", "content": "x"}]},
                {"rank": 1, "completion": [{"role": "assistant", "content": "z"}]},
            ],
        }
    ]


@given(LISTS)
def test_our_own_format_loses_nothing(responses: list[tuple[str, int | None]]) -> None:
    row = make_list(*responses, mine={"kept": [1]}, judgement={"reply": "x"})
    (written,), counts = export("tunalm", None, row)
    assert Ranking.model_validate(written) == row
    assert counts == {"lists": 1, "rows": 1}


@given(LISTS)
def test_every_pair_is_written_or_counted(responses: list[tuple[str, int | None]]) -> None:
    rows, counts = export("trl-pairs", "all", make_list(*responses))
    ranked = [(text, rank) for text, rank in responses if rank is not None]
    left_out = counts.get("tied pairs", 0) + counts.get("pairs of equal texts", 0)
    assert len(rows) + left_out == len(list(combinations(ranked, 2)))
    in_order = {one + other for one, rank in ranked for other, worse in ranked if rank < worse and one != other}
    assert set(pairs_of(rows)) == in_order


@given(LISTS, st.sampled_from(get_args(Pairing)))
def test_no_pairing_gives_more_than_all_pairs(responses: list[tuple[str, int | None]], pairing: Pairing) -> None:
    some, _ = export("trl-pairs", pairing, make_list(*responses))
    every, _ = export("trl-pairs", "all", make_list(*responses))
    assert set(pairs_of(some)) <= set(pairs_of(every))
    assert bool(some) == bool(every) or len(some) < len(every)
