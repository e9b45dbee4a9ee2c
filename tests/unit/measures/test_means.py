"""Intervals and p-values against values that are known from elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tunalm.measures import means
from tunalm.measures.means import holm, mean_interval, sign_flip_p_value, standard_error


def test_interval_of_a_normal_sample_is_close_to_the_one_of_theory() -> None:
    values = list(np.random.default_rng(0).normal(50, 10, size=400))
    interval = mean_interval(values, 4000, seed=1)
    assert interval is not None
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert interval == pytest.approx((low, high), abs=0.15)


def test_interval_covers_the_true_share_about_95_times_in_100() -> None:
    draws = np.random.default_rng(2).random((300, 120)) < 0.25
    intervals = [mean_interval([float(value) for value in draw], 300, seed=0) for draw in draws]
    covered = sum(ends is not None and ends[0] <= 0.25 <= ends[1] for ends in intervals)
    assert 0.91 <= covered / len(draws) <= 0.98


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=2, max_size=12))
@settings(max_examples=60, deadline=None)
def test_interval_lies_around_the_mean_and_within_the_values(values: list[float]) -> None:
    interval = mean_interval(values, 200, seed=0)
    if interval is None:
        assert len(set(values)) == 1
    else:
        assert min(values) <= interval[0] <= np.mean(values) <= interval[1] <= max(values)


@pytest.mark.parametrize("values", [[], [1.0], [0.0, 0.0, 0.0], [100.0] * 50])
def test_there_is_no_interval_where_resampling_says_nothing(values: list[float]) -> None:
    assert mean_interval(values, 200, seed=0) is None
    assert sign_flip_p_value([0.0 for _ in values], seed=0) == 1.0
    assert len(values) > 1 or standard_error(values) is None


def test_intervals_depend_on_the_seed_and_on_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    values = list(np.random.default_rng(3).random(50))
    first = mean_interval(values, 500, seed=7)
    assert mean_interval(values, 500, seed=7) == first
    assert mean_interval(values, 500, seed=8) != first


@pytest.mark.parametrize(("wins", "losses"), [(1, 0), (5, 0), (7, 2), (6, 6), (10, 3)])
def test_few_differences_of_one_size_give_the_exact_sign_test(wins: int, losses: int) -> None:
    differences = [1.0] * wins + [-1.0] * losses + [0.0] * 40
    expected = stats.binomtest(wins, wins + losses).pvalue
    assert sign_flip_p_value(differences, seed=0) == pytest.approx(expected)


def test_many_differences_give_nearly_the_exact_sign_test() -> None:
    differences = [100.0] * 60 + [-100.0] * 40
    assert sign_flip_p_value(differences, seed=0) == pytest.approx(stats.binomtest(60, 100).pvalue, abs=0.01)


def test_direction_and_order_do_not_change_the_p_value_of_a_small_sample() -> None:
    differences = [0.4, -0.1, 0.3, 0.0, 0.2]
    expected = sign_flip_p_value(differences, seed=0)
    assert sign_flip_p_value([-difference for difference in differences], seed=1) == pytest.approx(expected)
    assert sign_flip_p_value(differences[::-1], seed=2) == pytest.approx(expected)


def test_under_the_null_hypothesis_small_p_values_are_as_rare_as_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(means, "PERMUTATIONS", 400)
    rng = np.random.default_rng(5)
    p_values = [sign_flip_p_value(list(rng.normal(size=30)), seed=0) for _ in range(200)]
    assert sum(p <= 0.05 for p in p_values) <= 20


def test_holm_on_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_between_the_raw_value_and_bonferroni_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for raw, value in zip(p_values, adjusted, strict=True):
        assert raw <= value <= min(1.0, raw * len(p_values)) + 1e-12
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    assert [adjusted[index] for index in order] == sorted(adjusted)
