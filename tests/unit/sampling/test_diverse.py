"""The diversity rule against a slow loop that treats one slot after the other, as the paper words it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunalm.measures.rouge import rouge_l
from tunalm.sampling.diverse import Rule, Similarity, closest, next_step


def overlap(a: str, b: str) -> float:
    """Share of common letters: a similarity that is easy to steer."""
    return len(set(a) & set(b)) / max(len(set(a) | set(b)), 1)


def rule(max_rouge_l: float | None = 0.8, max_attempts: int = 3, similarity: Similarity = overlap) -> Rule:
    return Rule(max_rouge_l, max_attempts, similarity)


def one_after_the_other(pool: Sequence[Sequence[str | None]], rule: Rule) -> tuple[list[int], list[int]]:
    """The index kept and the number of draws made per slot; `pool` has what each draw would give."""
    kept: list[int] = []
    made: list[int] = []
    texts: list[str] = []
    for slot in pool:
        best: tuple[float, int] | None = None
        for attempt in range(rule.max_attempts):
            text = slot[attempt]
            if text is None:
                break
            score = max([0.0, *(rule.similarity(text, other) for other in texts)])
            if best is None or score < best[0]:
                best = (score, attempt)
            if rule.max_rouge_l is None or score < rule.max_rouge_l:
                break
        made.append(attempt + 1)
        kept.append(attempt if best is None else best[1])
        chosen = slot[kept[-1]]
        texts += [chosen] if chosen is not None else []
    return kept, made


def in_waves(pool: Sequence[Sequence[str | None]], rule: Rule) -> tuple[list[int | None], list[int], int]:
    draws = [[slot[0]] for slot in pool]
    waves = 1
    while redraw := (step := next_step(draws, rule)).redraw:
        waves += 1
        for slot in redraw:
            draws[slot].append(pool[slot][len(draws[slot])])
    return step.kept, [len(slot) for slot in draws], waves


POOLS = st.lists(
    st.lists(st.none() | st.text("abcd", min_size=1, max_size=4), min_size=3, max_size=3), min_size=1, max_size=5
)


@given(pool=POOLS, tau=st.sampled_from([None, 0.3, 0.5, 0.8, 1.0]), attempts=st.integers(1, 3))
@settings(max_examples=500, deadline=None)
def test_waves_keep_and_draw_exactly_what_one_slot_after_the_other_would(
    pool: list[list[str | None]], tau: float | None, attempts: int
) -> None:
    expected_kept, expected_made = one_after_the_other(pool, rule(tau, attempts))
    kept, made, waves = in_waves(pool, rule(tau, attempts))
    assert (kept, made) == (expected_kept, expected_made)
    assert waves <= 1 + (len(pool) - 1) * (attempts - 1)


def test_the_first_response_is_always_kept_and_equal_ones_are_redrawn_together() -> None:
    step = next_step([["abc"]] * 4, rule())
    assert step.kept == [0, None, None, None]
    assert step.redraw == [1, 2, 3]


def test_the_threshold_itself_is_too_similar() -> None:
    pool = [["abcde"], ["abcd"]]
    assert overlap("abcde", "abcd") == 0.8
    assert next_step(pool, rule(0.8)).redraw == [1]
    assert next_step(pool, rule(0.8001)).redraw == []


def test_a_slot_waits_for_the_open_ones_before_it() -> None:
    step = next_step([["ab"], ["ab"], ["xy"]], rule())
    assert step.kept == [0, None, None]
    assert step.redraw == [1]
    step = next_step([["ab"], ["ab", "xy"], ["xy"]], rule())
    assert step.kept == [0, 1, None]
    assert step.redraw == [2]


def test_when_no_draw_is_diverse_the_least_similar_is_kept() -> None:
    assert next_step([["abcdef"], ["abcdef", "abcde", "abcdef"]], rule(0.5)).kept == [0, 1]
    assert next_step([["abcdef"], ["abcde", "abcdf", "abcde"]], rule(0.5)).kept == [0, 0]


def test_without_a_threshold_every_draw_is_kept() -> None:
    assert next_step([["same"], ["same"], ["same"]], rule(None)) == next_step([["a"], ["b"], ["c"]], rule(None))


@pytest.mark.parametrize(
    ("slots", "kept"),
    [
        ([[None], ["ab"], ["ab", "xy"]], [0, 0, 1]),
        ([["ab"], ["ab", None], ["xy"]], [0, 0, 0]),
        ([["ab"], [None]], [0, 0]),
    ],
)
def test_a_failed_draw_ends_its_slot_and_is_compared_with_nothing(
    slots: list[list[str | None]], kept: list[int]
) -> None:
    step = next_step(slots, rule())
    assert (step.kept, step.redraw) == (kept, [])


def test_the_rule_holds_for_rouge_l() -> None:
    pool = [
        ["The cat sat on the mat."],
        ["The cats sat on the mat!", "A dog slept."],
        ["Rain fell.", "-", "-"],
        ["the cat sat on mats", "a dog slept", "A dog slept!"],
    ]
    kept, made, _ = in_waves([slot + ["?"] * (3 - len(slot)) for slot in pool], rule(similarity=rouge_l))
    assert made == [1, 2, 1, 3]
    assert kept == [0, 1, 0, 0]


def test_closeness_is_with_all_others_of_the_list() -> None:
    assert closest(["ab", "abc", None, "xyz"], overlap) == [pytest.approx(2 / 3), pytest.approx(2 / 3), None, 0.0]
    assert closest(["ab"], overlap) == [None]
    assert closest(["ab", None], overlap) == [None, None]
