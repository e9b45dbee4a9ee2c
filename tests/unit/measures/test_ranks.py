"""Agreement of orders with ties and gaps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tunalm.measures.ranks import bootstrap, kendall_tau, kendall_w, pair_accuracy, top1_agrees, weighted_tau

ORDER_PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=9)


@given(ORDER_PAIRS)
def test_tau_is_what_scipy_says(pairs: list[tuple[int, int]]) -> None:
    one, other = zip(*pairs, strict=True)
    expected = float(stats.kendalltau(one, other).statistic)
    tau = kendall_tau(one, other)
    assert tau is None if math.isnan(expected) else tau == pytest.approx(expected)


def test_things_without_a_rank_are_dropped_from_both() -> None:
    assert kendall_tau([0, None, 1, 2], [5, 0, 6, None]) == pytest.approx(1)
    assert pair_accuracy([0, None, 1, 2], [5, 0, 6, None]) == (1, 1)


@pytest.mark.parametrize("orders", [([], []), ([0], [1]), ([0, 0], [0, 1]), ([None, 0], [0, None])], ids=str)
def test_tau_is_not_defined_without_an_order(orders: tuple[list[float | None], list[float | None]]) -> None:
    assert kendall_tau(*orders) is None
    assert weighted_tau(*orders) is None


def test_weighted_tau_punishes_an_exchange_at_the_top_more() -> None:
    order = [0, 1, 2, 3, 4]
    top, bottom = weighted_tau(order, [1, 0, 2, 3, 4]), weighted_tau(order, [0, 1, 2, 4, 3])
    assert top is not None
    assert bottom is not None
    assert top < bottom < 1
    assert kendall_tau(order, [1, 0, 2, 3, 4]) == kendall_tau(order, [0, 1, 2, 4, 3])


@given(ORDER_PAIRS)
def test_weighted_tau_is_one_for_an_order_and_itself(pairs: list[tuple[int, int]]) -> None:
    order = [first for first, _ in pairs]
    tau = weighted_tau(order, order)
    assert tau is None if len(set(order)) == 1 else tau == pytest.approx(1)


def test_concordance_of_the_worked_example_with_ties() -> None:
    """Siegel and Castellan (1988): three judges, six applicants, W of the untied part is 0.16."""
    assert kendall_w([[1, 6, 3, 2, 5, 4], [1, 5, 6, 4, 2, 3], [6, 3, 2, 5, 4, 1]]) == pytest.approx(0.162, abs=5e-4)


def test_concordance_is_one_for_judges_with_the_same_ties_and_none_without_any_order() -> None:
    assert kendall_w([[5, 5, 2, 0], [4, 4, 3, 1]]) == pytest.approx(1)
    assert kendall_w([[1, 2], [2, 1]]) == pytest.approx(0)
    assert kendall_w([[3, 3], [1, 1]]) is None
    assert kendall_w([[1, 2, 3]]) is None
    assert kendall_w([]) is None


@given(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=2, max_size=5))
def test_concordance_is_the_mean_spearman_correlation_on_another_scale(orders: list[list[int]]) -> None:
    """W = (1 + (judges - 1) * mean Spearman) / judges holds without ties; with ties W stays within 0 and 1."""
    concordance = kendall_w(orders)
    assert concordance is None or 0 <= concordance <= 1
    untied = [list(np.random.default_rng(sum(order)).permutation(4)) for order in orders]
    rhos = [stats.spearmanr(a, b).statistic for i, a in enumerate(untied) for b in untied[:i]]
    assert kendall_w(untied) == pytest.approx((1 + (len(untied) - 1) * np.mean(rhos)) / len(untied))


def test_the_first_place_is_shared_by_ties() -> None:
    assert top1_agrees([0, 1, 2], [0, 2, 1]) == 1
    assert top1_agrees([0, 1, 2], [1, 0, 2]) == 0
    assert top1_agrees([0, 0, 2], [0, 1, 2]) == 0.5
    assert top1_agrees([0, 0, 2], [4, 4, 5]) == 1
    with pytest.raises(ValueError, match="nothing is ranked"):
        top1_agrees([None, 0], [0, None])


@given(ORDER_PAIRS)
def test_an_order_and_its_reverse_share_the_pairs_that_are_decided(pairs: list[tuple[int, int]]) -> None:
    truth, other = zip(*pairs, strict=True)
    right, decided = pair_accuracy(truth, other)
    wrong, as_many = pair_accuracy(truth, [-rank for rank in other])
    assert decided == as_many == sum(a != b for i, a in enumerate(truth) for b in truth[:i])
    assert right + wrong == decided


def test_a_tie_where_the_truth_decides_is_half_right() -> None:
    assert pair_accuracy([0, 1, 1], [0, 0, 5]) == (1.5, 2)


@pytest.mark.parametrize("statistic", [kendall_tau, weighted_tau, top1_agrees, pair_accuracy])
def test_orders_must_be_of_one_length_and_finite(statistic: object) -> None:
    assert callable(statistic)
    with pytest.raises(ValueError, match="shorter"):
        statistic([0, 1, 2], [0, 1])
    with pytest.raises(ValueError, match="finite"):
        statistic([0, math.nan], [0, 1])
    with pytest.raises(ValueError, match="same things"):
        kendall_w([[0, 1], [0, 1, 2]])


def test_the_bootstrap_holds_the_mean_and_repeats_itself() -> None:
    values = np.random.default_rng(0).normal(3, 1, 200)
    interval = bootstrap(values, np.mean, 500, 1)
    assert interval is not None
    assert interval[0] < values.mean() < interval[1]
    assert interval == bootstrap(values, np.mean, 500, 1) != bootstrap(values, np.mean, 500, 2)


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0]])
def test_the_bootstrap_says_nothing_where_there_is_nothing_to_say(values: list[float]) -> None:
    assert bootstrap(np.array(values), np.sum, 10, 0) is None
    assert bootstrap(np.array([1.0, 2.0]), lambda _: math.nan, 10, 0) is None


def test_draws_without_a_value_are_left_out() -> None:
    interval = bootstrap(np.array([1.0, 2.0, 3.0]), lambda drawn: float(drawn.mean()) if 3 in drawn else None, 200, 0)
    assert interval is not None
    assert 1 < interval[0] < 2 < interval[1] <= 3
