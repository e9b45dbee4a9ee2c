"""The win rate at equal length."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit

from tunalm.evaluation.pairwise.length_control import RIDGE, length_controlled

ROWS = (
    st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(-2000, 2000)), min_size=4, max_size=60)
    .filter(lambda rows: min(length for _, length in rows) <= 0 <= max(length for _, length in rows))
    .filter(lambda rows: len({length for _, length in rows}) > 1)
)


@settings(max_examples=50, deadline=None)
@given(ROWS)
def test_it_is_the_logistic_regression_that_scipy_finds(rows: list[tuple[float, int]]) -> None:
    points, lengths = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    feature = np.tanh(lengths / lengths.std(ddof=1))

    def loss(theta: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        line = theta[0] + theta[1] * feature
        return float(np.sum(np.logaddexp(0, line) - points * line) + RIDGE / 2 * theta @ theta)

    expected = 100 * expit(
        minimize(loss, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12}).x[0]
    )
    found = length_controlled(list(points), list(lengths), 10, 0)
    assert found is not None
    assert found[0] == pytest.approx(expected, abs=0.05)


def test_a_judge_that_only_likes_length_leaves_nothing() -> None:
    dice = np.random.default_rng(0)
    lengths = dice.normal(500, 800, size=400)
    points = (dice.random(400) < expit(3 * np.tanh(lengths / lengths.std(ddof=1)))).astype(float)
    found = length_controlled(list(points), list(lengths), 200, 0)
    assert found is not None
    value, (low, high) = found
    assert 100 * points.mean() > 65
    assert low < 50 < high
    assert value == pytest.approx(50, abs=8)


def test_a_judge_that_does_not_look_at_length_is_left_alone() -> None:
    dice = np.random.default_rng(1)
    points = (dice.random(400) < 0.7).astype(float)
    found = length_controlled(list(points), list(dice.normal(0, 800, size=400)), 200, 0)
    assert found is not None
    assert found[0] == pytest.approx(100 * points.mean(), abs=1.5)


def test_equal_lengths_say_nothing_and_equal_verdicts_have_a_value() -> None:
    assert length_controlled([1.0, 0.0], [5.0, 5.0], 50, 0) is None
    assert length_controlled([1.0], [5.0], 50, 0) is None
    rows = ([1.0] * 80, [100.0, -100.0] * 40)
    found = length_controlled(*rows, 50, 3)
    assert found is not None
    assert found[0] > 99
    assert found == length_controlled(*rows, 50, 3)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_answers_that_are_always_longer_say_nothing_of_equal_ones(sign: float) -> None:
    rows = ([1.0, 0.0, 0.5] * 10, [sign * (5 + number) for number in range(30)])
    assert length_controlled(*rows, 50, 0) is None
    assert length_controlled([*rows[0], 1.0], [*rows[1], -sign], 50, 0) is not None
