"""The two metrics of Super-NI: for every row the best score with one of its references."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from tunalm.measures import rouge

MOST_ROWS = 1 << 14
"""Rows that are remembered: most tasks are of classification, where few labels make all pairs."""

_PUNCTUATION = re.compile(f"[{re.escape(string.punctuation)}]+")
_PUNCTUATION_BYTES = string.punctuation.encode()
_GAPS = bytes.maketrans(b"\x1c\x1d\x1e\x1f", b"    ")
"""What a split of text takes for gaps beyond what a split of bytes does."""


class RowScore(NamedTuple):
    """Scores of one row, 0-1."""

    rougeL: float  # noqa: N815 - the name of the metric
    exact_match: float


def score_row(prediction: str, references: Sequence[str]) -> RowScore:
    """Compare a prediction with its references (at least one).

    ROUGE-L is the F1 of `rouge_score` with its stemmer; it sees a-z and 0-9 only. The exact match is blind to case,
    ASCII punctuation and the width of gaps, so that two texts with nothing else in them are equal.
    """
    return _score(prediction, tuple(references))


def forget() -> None:
    """Forget all rows and words seen so far, as in a fresh process."""
    _score.cache_clear()
    rouge.forget()


@lru_cache(maxsize=MOST_ROWS)
def _score(prediction: str, references: tuple[str, ...]) -> RowScore:
    said, found = rouge.words(prediction), [rouge.words(reference) for reference in references]
    bare = b"".join(said)  # texts in which this differs are no match, and most do
    near = [reference for reference, words in zip(references, found, strict=True) if b"".join(words) == bare]
    match = bool(near) and _plain(prediction) in map(_plain, near)
    return RowScore(rouge.best_rouge_l(said, found), float(match))


def mean_score(scores: Sequence[RowScore]) -> RowScore:
    """Means over rows, 0-100, with the published rounding to four decimals."""
    count = len(scores)
    return RowScore(
        round(100.0 * sum(score.rougeL for score in scores) / count, 4),
        round(100.0 * sum(score.exact_match for score in scores) / count, 4),
    )


def _plain(text: str) -> str:
    if text.isascii():
        return b" ".join(text.encode().lower().translate(_GAPS, _PUNCTUATION_BYTES).split()).decode()
    return " ".join(_PUNCTUATION.sub("", text.lower()).split())
