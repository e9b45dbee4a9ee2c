"""What a task is: a table of the words that matter in a question and of the forms that answers to it may have."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Example = Mapping[str, Any]
"""As the data has it: `input` and `metadata`."""
Verdict = tuple[int, int]
"""Score and certainty, 0 or 1 each."""
Words = Callable[[Example], dict[str, str]]

WORD = re.compile(r"\b[a-z]+\b")
RUN = re.compile(r"\b[a-z\d]+\b")
"""A word or number in an answer."""


def no_words(_: Example) -> dict[str, str]:
    """For a task in whose forms no word of the question stands."""
    return {}


@dataclass(frozen=True)
class Task:
    """How answers to one kind of question are judged; the steps are taken in the order of the fields."""

    kinds: Mapping[str, str] = field(default_factory=dict)
    """Kind of each place that forms may have."""
    words: Words = no_words
    """The words of a question, by place. They differ from question to question, so forms are compiled without them."""
    fixed: Words = no_words
    """Expressions by place of which there are few in all; forms are compiled for each of them."""
    own: Callable[[str, Example], Verdict] | None = None
    """Judges all by itself; nothing below is used then."""
    needs: str = ""
    """Form that stands somewhere in every right answer; without it an answer is certainly wrong."""
    refused: Callable[[str, Example], bool] | None = None
    """Says which other answers are certainly wrong."""
    denials: Sequence[str] = ()
    """Forms that are certainly wrong as a whole answer."""
    misstated: Sequence[str] = ()
    """Forms that are certainly wrong in front of an answer, unless `<count>` is the `difference`."""
    exact: Sequence[str] = ()
    """Forms that are certainly right as a whole answer; of the first, repetitions are right too."""
    repeats: bool = True
    """Whether they are."""
    accepted: Sequence[str] = ()
    """Forms that are certainly right as a whole answer, and right as a part of one."""
    mirrors: Sequence[tuple[str, str]] = ()
    """`accepted` grows by its own forms with another word, (old, new), and the two places of `mirrored` exchanged."""
    mirrored: tuple[str, str] = ("answer", "distractor")
    shared: str = "{answer}"
    """What the forms that all tasks share call the answer; empty for none of them."""
    prefixes: Sequence[str] = ("",)
    """Forms that may stand in front of an accepted one."""
    suffixes: Sequence[str] = ("",)
    """Forms that may stand after it."""


SHARED = """
    ANSWER is the answer
    the [correct ]answer is ANSWER
    answer: ANSWER
    """


def normalise(text: str) -> str:
    """Strip, put into lower case, and make one of several blanks."""
    return re.sub(" +", " ", text.strip().lower())


def words_of(*names: str) -> Words:
    """Read words from the metadata, in lower case."""
    return lambda example: {name: str(example["metadata"][name]).lower() for name in names}
