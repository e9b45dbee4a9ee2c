"""The estimators of the best of k samples against all ways to choose k of them, and against the published formula."""

from __future__ import annotations

from itertools import combinations, permutations
from statistics import fmean

import pytest

from tunalm.measures.best_of import chosen_of_k, pass_at_k


def chen(n: int, c: int, k: int) -> float:
    """Chen et al. (2021), as their numerically stable script has it."""
    if n - c < k:
        return 1.0
    product = 1.0
    for number in range(n - c + 1, n + 1):
        product *= 1.0 - k / number
    return 1.0 - product


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_pass_at_k_is_the_published_formula_for_every_count_and_k(n: int) -> None:
    for right in range(n + 1):
        scores = [1.0] * right + [0.0] * (n - right)
        for k in range(1, n + 1):
            assert pass_at_k(scores, k) == pytest.approx(chen(n, right, k))


def test_pass_at_k_of_graded_scores_is_the_mean_best_of_all_ways_to_choose_k() -> None:
    scores = [0.2, 0.9, 0.5, 0.5, 0.0]
    for k in range(1, 6):
        assert pass_at_k(scores, k) == pytest.approx(fmean(max(some) for some in combinations(scores, k)))


@pytest.mark.parametrize(
    "values", [[-1.0, -0.5, -3.0, -2.0], [-1.0, -1.0, -2.0, -1.0], [-1.0] * 4, [float("-inf")] * 3 + [-9.0]]
)
def test_the_chosen_of_k_is_the_mean_over_all_subsets_and_all_ways_to_break_ties(values: list[float]) -> None:
    scores = [1.0, 0.0, 0.0, 1.0]

    def first(order: tuple[int, ...]) -> float:
        return scores[max(order, key=lambda place: values[place])]

    for k in range(1, 5):
        slow = fmean(first(order) for some in combinations(range(4), k) for order in permutations(some))
        assert chosen_of_k(scores, values, k) == pytest.approx(slow)


@pytest.mark.parametrize("k", [0, 4])
def test_more_than_there_are_cannot_be_chosen(k: int) -> None:
    with pytest.raises(ValueError, match=f"k is {k}, and there are 3 samples"):
        pass_at_k([1.0, 0.0, 0.0], k)
