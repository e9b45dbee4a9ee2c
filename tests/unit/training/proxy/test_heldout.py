"""What is held out, and how far a proxy agrees with the judge on it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunalm.records import Ranking, Response
from tunalm.training.proxy.heldout import ScoredList, agreement, conversation, length_preference, split


def make_row(number: int, question: str, *texts: str) -> Ranking:
    responses = [Response(text=text, rank=rank) for rank, text in enumerate(texts)]
    return Ranking(id=str(number), instruction=question, responses=responses)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=30), st.floats(0, 0.99), st.integers(0, 5))
def test_all_lists_of_an_instruction_go_the_same_way(questions: list[int], share: float, seed: int) -> None:
    rows = [make_row(number, f"question {which}", "a", "b") for number, which in enumerate(questions)]
    kept, held_out = split(rows, share, seed)
    assert split(rows, share, seed) == (kept, held_out)
    assert sorted(row.id for row in kept + held_out) == sorted(row.id for row in rows)
    assert kept
    assert not set(map(conversation, kept)) & set(map(conversation, held_out))
    asked = len(set(questions))
    expected = min(asked - 1, max(1, round(share * asked))) if share else 0
    assert len(set(map(conversation, held_out))) == expected


def test_the_seed_decides_what_is_held_out() -> None:
    rows = [make_row(number, f"question {number}", "a", "b") for number in range(40)]
    first, second = split(rows, 0.2, 0)[1], split(rows, 0.2, 1)[1]
    assert len(first) == len(second) == 8
    assert first != second


def test_length_is_preferred_as_in_the_lists() -> None:
    longer = [make_row(0, "q", "long one", "short"), make_row(1, "q", "longest of all", "long", "s")]
    assert length_preference(longer) == 1
    assert length_preference([make_row(0, "q", "s", "long one"), make_row(1, "q", "t", "longest")]) == -1


def test_figures_of_lists_made_by_hand() -> None:
    lists = [
        ScoredList(ranks=[0, 1, 2], scores=[3.0, 2.0, 1.0], lengths=[1, 2, 3]),  # tau 1, -1 by length
        ScoredList(ranks=[0, 1], scores=[0.0, 1.0], lengths=[5, 5]),  # tau -1, a tie by length
        ScoredList(ranks=[0, 0, 1], scores=[2.0, 1.0, 3.0], lengths=[9, 9, 1]),  # two pairs, both wrong; both right
    ]
    found = agreement(lists, preference=1, seed=0)
    assert (found["lists"], found["length_prefers"]) == (3, "longer")
    pairs, top1, tau = found["pair_accuracy"], found["top1"], found["kendall_tau"]
    assert pairs["proxy"]["value"] == pytest.approx(3 / 6)
    assert pairs["length"]["value"] == pytest.approx((0 + 0.5 + 2) / 6, abs=1e-4)
    assert pairs["gain"]["value"] == pytest.approx((3 - 2.5) / 6, abs=1e-4)
    assert pairs["chance"]["value"] == 0.5
    assert top1["proxy"]["value"] == pytest.approx(1 / 3, abs=1e-4)
    assert top1["length"]["value"] == pytest.approx((0 + 1 / 2 + 1) / 3, abs=1e-4)
    assert top1["chance"]["value"] == pytest.approx((1 / 3 + 1 / 2 + 1 / 3) / 3)
    assert tau["proxy"]["value"] == pytest.approx((1 - 1 - 2 / 6**0.5) / 3, abs=1e-4)
    assert tau["length"]["value"] == pytest.approx((-1 + 0 + 1) / 3, abs=1e-4)
    low, high = pairs["proxy"]["ci95"]
    assert low < 3 / 6 < high


def test_a_perfect_proxy_beats_length_beyond_its_interval() -> None:
    lists = [ScoredList([0, 1, 2], [3.0, 2.0, 1.0], [number % 3, (number + 1) % 3, 7]) for number in range(30)]
    found = agreement(lists, preference=1, seed=0)
    assert found["kendall_tau"]["proxy"] == {"value": 1.0, "ci95": None}
    assert found["kendall_tau"]["gain"]["ci95"][0] > 0
    reverse = agreement(lists, preference=-1, seed=0)["kendall_tau"]["length"]["value"]
    assert reverse == pytest.approx(-found["kendall_tau"]["length"]["value"])


def test_no_lists_have_no_figures() -> None:
    found = agreement([], preference=1, seed=0)
    assert found["lists"] == 0
    assert found["top1"]["proxy"]["value"] is None is found["top1"]["chance"]["value"]
