"""Texts that differ: each new one is compared, by ROUGE-L, with all that were kept before it.

All comparisons of a batch are one call of rapidfuzz, which compares several texts at a time; the scores are those of
`rouge_l` to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist

from tunalm.measures.rouge import Letters, Tokenizer

TOGETHER = 64
"""Texts that are compared with all others in one call."""


@dataclass(frozen=True)
class Near:
    """The most similar text of a pool."""

    index: int
    """Its place in the pool."""
    score: float
    """ROUGE-L F1 with it (0-1)."""


class Pool:
    """A growing set of texts, no new one of which has a ROUGE-L F1 of `limit` or more with another.

    Args:
        limit: 0-1.
        tokenizer: what the words are. A text without any is similar to nothing.
    """

    def __init__(self, limit: float, tokenizer: Tokenizer) -> None:
        self._limit, self._tokenizer = limit, tokenizer
        self._letters = Letters()
        self._spelled: list[str] = []

    def words(self, text: str) -> int:
        """How many words a text has."""
        return len(self._letters.spell(text, self._tokenizer))

    def add(self, texts: Sequence[str]) -> None:
        """Add texts, however similar."""
        self._spelled += [self._letters.spell(text, self._tokenizer) for text in texts]

    def take(self, texts: Sequence[str]) -> list[Near | None]:
        """Add, one after the other, the texts that are different enough from all.

        Returns:
            For each text None if it was added, else what it is most similar to (the earliest of equals).
        """
        spelled = [self._letters.spell(text, self._tokenizer) for text in texts]
        found: list[Near | None] = []
        for start in range(0, len(spelled), TOGETHER):
            found += self._take(spelled[start : start + TOGETHER])
        return found

    def _take(self, texts: Sequence[str]) -> list[Near | None]:
        kept = len(self._spelled)
        scores = f1(texts, self._spelled)  # [texts, kept]
        best = scores.argmax(1) if kept else np.zeros(len(texts), np.intp)
        among = f1(texts, texts)
        added: list[int] = []
        found: list[Near | None] = []
        for number, text in enumerate(texts):
            near = [Near(int(best[number]), float(scores[number, best[number]]))] if kept else []
            near += [Near(kept + place, float(among[number, other])) for place, other in enumerate(added)]
            nearest = max(near, key=lambda each: each.score, default=None)
            if nearest is not None and nearest.score >= self._limit:
                found.append(nearest)
                continue
            found.append(None)
            added.append(number)
            self._spelled.append(text)
        return found


def f1(texts: Sequence[str], others: Sequence[str]) -> NDArray[np.float64]:
    """ROUGE-L F1 of texts of letters [A] with others [B], by the operations of `rouge_l`, as [A, B]."""
    if not texts or not others:
        return np.zeros((len(texts), len(others)))
    common = cdist(texts, others, scorer=LCSseq.similarity, dtype=np.int32)
    lengths, theirs = (np.array([max(1, len(each)) for each in side]) for side in (texts, others))
    precision, recall = common / lengths[:, None], common / theirs
    with np.errstate(invalid="ignore"):
        return np.where(common, 2 * precision * recall / (precision + recall), 0.0)
