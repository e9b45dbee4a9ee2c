"""Orders in which responses are shown, and what several judgements say together."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunalm.ranking.judge.orders import balanced_orders, consensus


@given(st.integers(1, 9), st.integers(1, 20), st.integers())
def test_orders_are_permutations_that_differ_and_are_balanced(size: int, count: int, seed: int) -> None:
    orders = balanced_orders(size, count, seed)
    assert len(orders) == len(set(orders)) == min(count, math.factorial(size))
    assert all(sorted(order) == list(range(size)) for order in orders)
    for place in zip(*orders, strict=True):
        times = [place.count(item) for item in range(size)]
        assert max(times) - min(times) <= 1
        if len(orders) % size == 0:
            assert max(times) == min(times)


@pytest.mark.parametrize("size", [2, 4, 6, 8])
def test_in_a_square_of_even_size_every_item_follows_every_other_once(size: int) -> None:
    follows = Counter(pair for order in balanced_orders(size, size, 0) for pair in pairwise(order))
    assert set(follows.values()) == {1}
    assert len(follows) == size * (size - 1)


def test_the_draw_decides() -> None:
    assert balanced_orders(4, 4, "a") == balanced_orders(4, 4, "a")
    assert len({tuple(balanced_orders(4, 4, seed)) for seed in range(30)}) > 15


def test_a_consensus_is_the_mean_with_bordas_count_beside_it() -> None:
    agreed = consensus([[3, 2, 1], [3, 2, 1], [0, 15, 1]])
    assert agreed.scores == [2.0, pytest.approx(19 / 3), 1.0]
    assert agreed.borda == [pytest.approx(4 / 3), pytest.approx(4 / 3), pytest.approx(1 / 3)]
    assert agreed.borda_ranks == [0, 0, 1]
    assert agreed.flip_rate == pytest.approx(2 / 3)
    assert agreed.agreement == pytest.approx(1 / 3)


def test_ties_stay_ties_and_are_no_flips() -> None:
    agreed = consensus([[2, 2, 1], [2, 2, 2]])
    assert agreed.scores == [2.0, 2.0, 1.5]
    assert agreed.borda == [1.25, 1.25, 0.5]
    assert agreed.flip_rate == 0


def test_one_judgement_says_nothing_of_agreement() -> None:
    agreed = consensus([[3, 1]])
    assert (agreed.scores, agreed.agreement, agreed.flip_rate) == ([3.0, 1.0], None, None)


def test_judgements_that_tell_nothing_apart_have_no_agreement() -> None:
    assert consensus([[1, 1], [2, 2]]).agreement is None


@given(st.lists(st.lists(st.integers(0, 15), min_size=3, max_size=3), min_size=1, max_size=5))
def test_points_of_borda_add_up(totals: list[list[float]]) -> None:
    assert sum(consensus(totals).borda) == pytest.approx(3)
