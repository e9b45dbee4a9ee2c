"""Scoring saved answers: ours against a plain loop over the package `rouge_score`.

The texts are made up of a vocabulary whose n-th word is drawn 1/n as often as the first. Labels are those of
classification, which most tasks of Super-NI are: answer and reference are among the few words of their task. Nothing is
remembered from one round to the next.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from itertools import accumulate

from rouge_score.rouge_scorer import RougeScorer

from benchmarks.evaluation.comparison import Comparison, compare
from tunalm.evaluation.superni.metrics import forget, score_row

ROWS = 11_810
"""As many as Super-NI has."""
VOCABULARY = 12_000
WANTED = 30.0
"""Speedup that was to be reached."""
REFERENCES = (1, 3)
WORDS_OF_REFERENCE = (3, 20)
WORDS_OF_ANSWER = {"short answers": (2, 20), "answers of 60 to 100 words": (60, 100)}
LABELS_OF_TASK = 3
ROWS_OF_TASK = 100
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


def measure(rounds: int) -> list[Comparison]:
    """Compare both on all kinds of answers."""
    kinds = {"labels": _labels(), **{answers: _rows(lengths) for answers, lengths in WORDS_OF_ANSWER.items()}}
    return [
        compare(
            f"scoring {kind}",
            "rouge_score, a loop",
            partial(plain, rows),
            partial(ours, rows),
            rounds=rounds,
            wanted=WANTED,
            warm_up=0,
        )
        for kind, rows in kinds.items()
    ]


def plain(rows: Sequence[Row]) -> list[float]:
    """One scorer, one pair of texts after the other."""
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    return [
        max(scorer.score(reference, answer)["rougeL"].fmeasure for reference in references)
        for answer, references in rows
    ]


def ours(rows: Sequence[Row]) -> list[float]:
    """What `tunalm score superni` computes, exact match included, with nothing remembered."""
    forget()
    return [score_row(answer, references).rougeL for answer, references in rows]


def _labels() -> list[Row]:
    dice = random.Random(1)
    words = _vocabulary(dice)
    rows: list[Row] = []
    while len(rows) < ROWS:
        labels = dice.sample(words, LABELS_OF_TASK)
        rows += [(dice.choice(labels), [dice.choice(labels)]) for _ in range(ROWS_OF_TASK)]
    return rows[:ROWS]


def _rows(lengths: tuple[int, int]) -> list[Row]:
    dice = random.Random(0)
    words = _vocabulary(dice)
    frequencies = list(accumulate(1 / rank for rank in range(1, VOCABULARY + 1)))

    def text(shortest: int, longest: int) -> str:
        return " ".join(dice.choices(words, cum_weights=frequencies, k=dice.randint(shortest, longest)))

    return [
        (text(*lengths), [text(*WORDS_OF_REFERENCE) for _ in range(dice.randint(*REFERENCES))]) for _ in range(ROWS)
    ]


def _vocabulary(dice: random.Random) -> list[str]:
    return ["".join(dice.choices(_SYLLABLES, k=dice.randint(1, 4))) for _ in range(VOCABULARY)]
