"""Scoring saved answers: ours against a plain loop over the package `rouge_score`.

The texts are made up of a vocabulary whose n-th word is drawn 1/n as often as the first. Nothing is remembered from
one round to the next.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

from rouge_score.rouge_scorer import RougeScorer

from benchmarks.measure import Spread, interleaved, ratios
from tunalm import rouge
from tunalm.evaluation.superni.metrics import score_row

ROWS = 3_000
VOCABULARY = 12_000
CHECKED = 200
"""Rows on which the scores are compared."""
REFERENCES = (1, 3)
WORDS_OF_REFERENCE = (3, 20)
WORDS_OF_ANSWER = {"short answers": (2, 20), "answers of 60 to 100 words": (60, 100)}
_SYLLABLES = (
    "ba",
    "con",
    "der",
    "es",
    "fin",
    "gra",
    "hol",
    "ing",
    "ject",
    "ly",
    "ment",
    "ness",
    "or",
    "ri",
    "s",
    "tion",
)

Row = tuple[str, list[str]]


@dataclass(frozen=True)
class Result:
    """How the two ways of scoring compare on one kind of answers."""

    answers: str
    plain_seconds: Spread
    our_seconds: Spread
    speedup: Spread

    def row(self) -> list[str]:
        """For a table."""
        return [self.answers, f"{ROWS}", str(self.plain_seconds), str(self.our_seconds), str(self.speedup)]

    def as_json(self) -> dict[str, Any]:
        """Medians and ranges."""
        return {"answers": self.answers, "rows": ROWS, "speedup": vars(self.speedup), "seconds": vars(self.our_seconds)}


COLUMNS = ("predictions", "rows", "rouge_score, s", "ours, s", "times as fast")
NOTES = ("Processor seconds, median (range) of the rounds; both give the same floats.",)


def measure(rounds: int) -> list[Result]:
    """Compare both on all kinds of answers.

    Raises:
        AssertionError: they differ in a score.
    """
    results = []
    for answers, lengths in WORDS_OF_ANSWER.items():
        rows = _rows(lengths)
        assert plain(rows[:CHECKED]) == ours(rows[:CHECKED])
        seconds = interleaved({"plain": partial(plain, rows), "ours": partial(ours, rows)}, rounds, warm_up=0)
        results.append(
            Result(
                answers,
                Spread.of(seconds["plain"]),
                Spread.of(seconds["ours"]),
                ratios(seconds["plain"], seconds["ours"]),
            )
        )
    return results


def plain(rows: Sequence[Row]) -> list[float]:
    """One scorer, one pair of texts after the other."""
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    return [
        max(scorer.score(reference, answer)["rougeL"].fmeasure for reference in references)
        for answer, references in rows
    ]


def ours(rows: Sequence[Row]) -> list[float]:
    """What `tunalm score superni` computes, exact match included, with nothing remembered."""
    rouge.forget()
    return [score_row(answer, references).rougeL for answer, references in rows]


def _rows(lengths: tuple[int, int]) -> list[Row]:
    dice = random.Random(0)
    words = ["".join(dice.choices(_SYLLABLES, k=dice.randint(1, 4))) for _ in range(VOCABULARY)]
    frequencies = list(accumulate(1 / rank for rank in range(1, VOCABULARY + 1)))

    def text(shortest: int, longest: int) -> str:
        return " ".join(dice.choices(words, cum_weights=frequencies, k=dice.randint(shortest, longest)))

    return [
        (text(*lengths), [text(*WORDS_OF_REFERENCE) for _ in range(dice.randint(*REFERENCES))]) for _ in range(ROWS)
    ]
