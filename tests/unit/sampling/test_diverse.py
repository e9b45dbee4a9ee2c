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


@pytest.mark.parametrize(
    ("draws", "tau", "kept", "redraw"),
    [
        pytest.param([["abc"]] * 4, 0.8, [0, None, None, None], [1, 2, 3], id="equal ones are redrawn together"),
        pytest.param([["abcde"], ["abcd"]], 0.8, [0, None], [1], id="the threshold itself is too similar"),
        pytest.param([["abcde"], ["abcd"]], 0.8001, [0, 0], [], id="below the threshold is kept"),
        pytest.param([["ab"], ["ab"], ["xy"]], 0.8, [0, None, None], [1], id="a slot waits for open ones before it"),
        pytest.param([["ab"], ["ab", "xy"], ["xy"]], 0.8, [0, 1, None], [2], id="and is then compared with them"),
        pytest.param([["abcdef"], ["abcdef", "abcde", "abcdef"]], 0.5, [0, 1], [], id="else the least similar is kept"),
        pytest.param([["abcdef"], ["abcde", "abcdf", "abcde"]], 0.5, [0, 0], [], id="the earliest of equals"),
        pytest.param([["same"]] * 3, None, [0, 0, 0], [], id="without a threshold all are kept"),
        pytest.param([[None], ["ab"], ["ab", "xy"]], 0.8, [0, 0, 1], [], id="what failed is compared with nothing"),
        pytest.param([["ab"], ["ab", None], ["xy"]], 0.8, [0, 0, 0], [], id="what failed ends its slot"),
        pytest.param([["ab"], [None]], 0.8, [0, 0], [], id="also as the first draw"),
    ],
)
def test_slots_are_settled_in_order(
    draws: list[list[str | None]], tau: float | None, kept: list[int | None], redraw: list[int]
) -> None:
    step = next_step(draws, rule(tau))
    assert (step.kept, step.redraw) == (kept, redraw)


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
