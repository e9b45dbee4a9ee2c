"""Agreement of two raters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunalm.measures.agreement import cohen_kappa, kappa_interval, kappa_of_table

PAIRS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=40)


def test_the_example_of_every_textbook() -> None:
    one = ["yes"] * 25 + ["no"] * 25
    other = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohen_kappa(one, other) == pytest.approx(0.4)


@given(PAIRS)
def test_kappa_is_symmetric_at_most_one_and_one_for_a_rater_and_itself(pairs: list[tuple[str, str]]) -> None:
    one, other = zip(*pairs, strict=True)
    kappa = cohen_kappa(one, other)
    assert kappa is None or (kappa <= 1 and kappa == pytest.approx(cohen_kappa(other, one)))
    assert cohen_kappa(one, one) == (None if len(set(one)) == 1 else pytest.approx(1))


@given(PAIRS)
def test_kappa_of_counts_is_that_of_the_items(pairs: list[tuple[str, str]]) -> None:
    table = np.zeros((3, 3))
    for first, second in pairs:
        table["abc".index(first), "abc".index(second)] += 1
    expected = cohen_kappa(*zip(*pairs, strict=True))
    assert kappa_of_table(table) == (None if expected is None else pytest.approx(expected))


def test_no_items_have_no_kappa() -> None:
    assert cohen_kappa([], []) is None
    assert kappa_of_table(np.zeros((3, 3))) is None
    assert kappa_interval(["a", "a"], ["a", "a"], 100, 0) is None


def test_the_interval_holds_kappa_and_narrows() -> None:
    one, other = ["a", "b", "a", "b", "b"], ["a", "b", "b", "b", "a"]
    few = kappa_interval(one * 4, other * 4, 500, 0)
    many = kappa_interval(one * 40, other * 40, 500, 0)
    kappa = cohen_kappa(one, other)
    assert few is not None
    assert many is not None
    assert kappa is not None
    assert few[0] < many[0] < kappa < many[1] < few[1]
