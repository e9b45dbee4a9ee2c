"""The pool of texts that differ, beside one comparison after the other."""

from __future__ import annotations

import random

import pytest

from tunalm.measures.nearest import Near, Pool
from tunalm.measures.rouge import Tokenizer, rouge_l

WORDS = ["the", "Cat", "runs", "running", "write", "猫", "走る", "!!!", "👍"]


def texts(dice: random.Random, count: int) -> list[str]:
    return [" ".join(dice.choices(WORDS, k=dice.randint(0, 6))) for _ in range(count)]


@pytest.mark.parametrize("tokenizer", ["rouge", "unicode"])
@pytest.mark.parametrize("limit", [0.5, 0.7, 1.0])
def test_what_is_taken_is_what_one_comparison_after_the_other_would_take(tokenizer: Tokenizer, limit: float) -> None:
    dice = random.Random(f"{tokenizer} {limit}")
    pool, kept = Pool(limit, tokenizer), texts(dice, 20)
    pool.add(kept)
    taken = 0
    for size in (1, 3, 0, 150, 7):  # 150 are more than are compared in one call
        batch = texts(dice, size)
        expected: list[Near | None] = []
        for text in batch:
            scores = [rouge_l(text, other, tokenizer=tokenizer) for other in kept]
            best = max(range(len(scores)), key=scores.__getitem__)
            expected.append(Near(best, scores[best]) if scores[best] >= limit else None)
            kept += [text] if expected[-1] is None else []
        assert pool.take(batch) == expected
        taken += expected.count(None)
    assert 0 < taken < 161


def test_a_first_text_and_one_without_words_are_similar_to_nothing() -> None:
    assert Pool(0.1, "rouge").take(["!!!", "", "!!!"]) == [None, None, None]
    assert Pool(0.1, "rouge").take(["a b", "a b"]) == [None, Near(0, 1.0)]
