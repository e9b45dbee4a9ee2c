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


@pytest.mark.parametrize(
    ("totals", "scores", "borda_ranks", "agreement", "flip_rate"),
    [
        ([[3, 2, 1], [3, 2, 1], [0, 15, 1]], [2, 19 / 3, 1], [0, 0, 1], 1 / 3, 2 / 3),
        ([[2, 2, 1], [2, 2, 2]], [2, 2, 1.5], [0, 0, 1], 0.5, 0),
        ([[3, 1, 2], [4, 1, 3]], [3.5, 1, 2.5], [0, 2, 1], 1, 0),
        ([[3, 1]], [3, 1], [0, 1], None, None),
        ([[1, 1], [2, 2]], [1.5, 1.5], [0, 0], None, 0),
    ],
    ids=["they differ", "ties are no flips", "all the same", "one says nothing of agreement", "nothing is told apart"],
)
def test_a_consensus_is_the_mean_with_bordas_count_beside_it(
    totals: list[list[float]],
    scores: list[float],
    borda_ranks: list[int],
    agreement: float | None,
    flip_rate: float | None,
) -> None:
    found = consensus(totals)
    assert found.scores == pytest.approx(scores)
    assert found.borda_ranks == borda_ranks
    assert found.flip_rate == pytest.approx(flip_rate)
    assert found.agreement == pytest.approx(agreement)
