"""ROUGE-L: ours against the package `rouge_score`, with nothing remembered from earlier texts.

`python -m benchmarks.rouge [--rounds 5] [--json PATH]`. Texts are words of a made-up language, as often as Zipf's law
has it. Before anything is timed, pairs of every setting, and all pairs of texts at the edge of what a text can be,
must have the same score to the last bit.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, combinations, product
from pathlib import Path
from typing import Any

from rouge_score.rouge_scorer import RougeScorer

from benchmarks.measure import Spread, interleaved, machine, ratios, show, write_json
from tunalm.measures import rouge

Pair = tuple[str, str]

PAIRS = 18_000
"""Pairs of a round of ours, as many as in 3,000 lists of four: few enough for a test, enough words to be stemmed."""
CHECKED = 720
"""Of them, the pairs whose scores are compared first."""
SAMPLED = 120
"""Of them, the pairs that the slow package is timed on in each round."""
PREFIXES = ("", "un", "re", "over", "dis")
SUFFIXES = ("", "s", "ed", "ing", "ly", "er", "ness", "ation", "able", "ity", "ful", "ize", "al", "ment")
EDGES = (
    *(
        "",
        " ",
        "\n\t",
        "!!!",
        "a",
        "I",
        "0",
        "_",
        "the " * 500,
        "x" * 3000,
        "'",
        "don't",
        "e-mail",
        "3.5%",
        "ing",
        "sses",
    ),
    *(
        "naïve café",
        "Ångström",
        "İstanbul",
        "ﬁne",
        "日本語",
        "Привет мир",
        "👍🏽 ok",
        "a\u0301b",
        "\u200b",
        "Straße STRASSE",
    ),
    *(
        "running runs ran",
        "skies dying lying",
        "the cat the cat",
        "cat the cat the",
        "a b c d e",
        "e d c b a",
        "\x00null",
    ),
    *("geology theology", "yyyy syzygy", "nationally rational", "http://example.org/?q=1&r=2", "line one\r\nline two"),
)
COLUMNS = (
    "",
    "words",
    "pairs",
    "new words",
    "rouge_score, us/pair",
    "ours, us/pair",
    "times as fast",
    "to reach",
    "reached",
)


@dataclass(frozen=True)
class Setting:
    """What is compared."""

    name: str
    words: int
    """Of each text."""
    forms: int
    """Words of the language."""
    listed: int
    """Texts that are all compared with each other, as the responses to one instruction are."""
    to_reach: float | None
    """Times as fast."""


SETTINGS = (
    Setting("lists of four, as sampling compares them", 100, 10_000, 4, 90),
    Setting("pairs, small vocabulary", 100, 1_500, 2, 90),
    Setting("pairs, large vocabulary", 100, 10_000, 2, None),
    Setting("lists of four, short texts", 45, 10_000, 4, None),
    Setting("lists of four, long texts", 250, 10_000, 4, None),
)


@dataclass(frozen=True)
class Result:
    """Seconds per pair."""

    setting: Setting
    new_words: int
    """That differ, in all texts."""
    published: Spread
    ours: Spread
    speedup: Spread

    @property
    def reached(self) -> bool | None:
        """Whether the median speed-up is what it should be; None if nothing is said of it."""
        return None if self.setting.to_reach is None else self.speedup.median >= self.setting.to_reach

    def row(self) -> list[str]:
        """For a table."""
        reached = {None: "", True: "yes", False: "no"}[self.reached]
        to_reach = "" if self.setting.to_reach is None else f"{self.setting.to_reach:g}"
        spreads = [str(Spread(*(1e6 * value for value in vars(each).values()))) for each in (self.published, self.ours)]
        return [
            self.setting.name,
            str(self.setting.words),
            str(PAIRS),
            str(self.new_words),
            *spreads,
            str(self.speedup),
            to_reach,
            reached,
        ]

    def as_json(self) -> dict[str, Any]:
        """Everything."""
        return {
            **vars(self.setting),
            "pairs": PAIRS,
            "new_words": self.new_words,
            "seconds_per_pair": {"rouge_score": vars(self.published), "ours": vars(self.ours)},
            "speedup": vars(self.speedup),
            "reached": self.reached,
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, measure, print one table; 1 if a score differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rouge", description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="PATH")
    asked = parser.parse_args(arguments)
    if asked.rounds < 1:
        parser.error("--rounds must be at least 1")
    samples = {setting: pairs_of(setting) for setting in SETTINGS}
    checked = [*product(EDGES, EDGES), *(pair for pairs in samples.values() for pair in pairs[:CHECKED])]
    if differing := mismatches(checked):
        print(f"{len(differing)} of {len(checked)} scores differ, the first is {differing[0]!r}", file=sys.stderr)
        return 1
    results = [measure(setting, pairs, asked.rounds) for setting, pairs in samples.items()]
    notes = (
        f"0 of {len(checked)} scores differ in any bit, {len(EDGES) ** 2} of them of texts at the edge.",
        "Processor time, median (minimum-maximum) of the rounds; every round of ours starts without any stem known.",
    )
    title = f"ROUGE-L with stems on {machine()['device']}, one thread, {asked.rounds} rounds"
    show(title, COLUMNS, [result.row() for result in results], notes)
    if asked.json:
        write_json(asked.json, "rouge", "cpu", [result.as_json() for result in results])
    return 0


def measure(setting: Setting, pairs: Sequence[Pair], rounds: int) -> Result:
    """Time both, side by side."""
    variants = {"published": partial(published, pairs[:SAMPLED]), "ours": partial(ours, pairs)}
    seconds = interleaved(variants, rounds)
    theirs = [each / len(pairs[:SAMPLED]) for each in seconds["published"]]
    own = [each / len(pairs) for each in seconds["ours"]]
    new_words = len({word for pair in pairs for text in pair for word in text.split()})
    return Result(setting, new_words, Spread.of(theirs), Spread.of(own), ratios(theirs, own))


def mismatches(pairs: Sequence[Pair]) -> list[Pair]:
    """Pairs whose scores differ."""
    both = zip(pairs, published(pairs), ours(pairs), strict=True)
    return [pair for pair, theirs, own in both if theirs != own]


def published(pairs: Sequence[Pair]) -> list[float]:
    """F1 of each pair by the package."""
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    return [scorer.score(a, b)["rougeL"].fmeasure for a, b in pairs]


def ours(pairs: Sequence[Pair]) -> list[float]:
    """F1 of each pair by tunalm, with nothing remembered."""
    rouge.forget()
    return [rouge.rouge_l(a, b) for a, b in pairs]


def pairs_of(setting: Setting) -> list[Pair]:
    """As many pairs for every setting, the same ones every time."""
    dice = random.Random(0)
    forms = _forms(setting.forms, dice)
    weights = list(accumulate(1 / rank for rank in range(1, len(forms) + 1)))
    pairs: list[Pair] = []
    while len(pairs) < PAIRS:
        texts = [_text(dice.choices(forms, cum_weights=weights, k=setting.words)) for _ in range(setting.listed)]
        pairs += combinations(texts, 2)
    return pairs[:PAIRS]


def _forms(count: int, dice: random.Random) -> list[str]:
    """Words of made-up syllables, with the prefixes and suffixes of English."""
    forms: dict[str, None] = {}
    while len(forms) < count:
        syllables = (dice.choice("bcdfglmnprstvw") + dice.choice("aeiouy") for _ in range(dice.randint(1, 3)))
        stem = "".join(syllables) + dice.choice("bdlmnprst")
        forms.update(dict.fromkeys([dice.choice(PREFIXES) + stem + suffix for suffix in dice.sample(SUFFIXES, 3)]))
    return list(forms)[:count]


def _text(words: list[str]) -> str:
    """Sentences of ten words."""
    sentences = (words[start : start + 10] for start in range(0, len(words), 10))
    return " ".join(f"{' '.join(sentence).capitalize()}." for sentence in sentences)


if __name__ == "__main__":
    sys.exit(main())
