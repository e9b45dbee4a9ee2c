"""Judges' replies read: two scores or one verdict, or a reason why there are none.

What any reader would understand is read: bold type, `8.0`, `8/10`, labels, a title above, thoughts before the review.
Nothing is guessed: a reply that contradicts itself, or says more numbers than two, is not read.
"""

from __future__ import annotations

import re

from tunalm.engines.reasoning import split_thoughts
from tunalm.evaluation.pairwise.prompts import PromptKind

HIGHEST = 10
NEAR_THE_END = 200
"""Characters at the end of a review of mathematics in which its pair of scores must stand."""

_NUMBER = r"(\d+(?:\.\d+)?)(?:[ \t]*/[ \t]*10)?"
_BETWEEN = r"[ \t]*(?:[ \t]|[,;|]|\band\b)[ \t]*"
_TITLE = re.compile(r"(?:the )?(?:scores?|ratings?|evaluation|review)[ \t]*:?", re.IGNORECASE)
_PAIR = re.compile(
    rf"(?:(?:the )?(?:scores?|ratings?)[ \t]*:[ \t]*)?(?:{_NUMBER}{_BETWEEN}{_NUMBER}"
    rf"|\({_NUMBER}{_BETWEEN}{_NUMBER}\))\.?",
    re.IGNORECASE,
)
_LABELLED = re.compile(
    rf"assistant[ \t]*([12])[ \t]*[:=][ \t]*{_NUMBER}(?=[ \t]*(?:\(|-[ \t]|[.,;|]?[ \t]*(?:$|assistant)))",
    re.MULTILINE | re.IGNORECASE,
)
_TUPLE = re.compile(rf"\(\s*{_NUMBER}\s*,\s*{_NUMBER}\s*\)")
_EMPHASIS = re.compile(r"\*\*|__|`|^[#>]+|(?<=[\w.])[*_]|[*_](?=\w)", re.MULTILINE)
_VERDICT = re.compile(r"\[\s*\[\s*([ABC])\s*\]\s*\]", re.IGNORECASE)
_LAST_LINE = re.compile(r"(?i:(?:my |the )?(?:final )?verdict(?: is)?[ \t]*:?[ \t]*)?\[?[ \t]*([ABC])[ \t]*\]?\.?")


class UnparsedError(ValueError):
    """A reply does not hold what was asked for; the message says what is missing."""


def scores(text: str, kind: PromptKind) -> tuple[float, float]:
    """Scores of the first and the second answer in a review that was asked for as published.

    They stand on the first line, or with labels on the first two. For mathematics they may instead be a pair `(8, 3)`
    near the end, as the prompt asks, or, as judges often write, behind `Assistant 1:` and `Assistant 2:`; of those the
    last ones count.

    Args:
        text: the review.
        kind: of the prompt.

    Raises:
        UnparsedError: there are none, or they are not between 0 and 10.
    """
    lines = [line.strip() for line in _plain(text).splitlines() if line.strip()]
    if lines and _TITLE.fullmatch(lines[0]):
        lines = lines[1:]
    pair = _numbers(_PAIR.fullmatch(lines[0])) if lines else None
    if pair is None:
        pair = _at_the_end("\n".join(lines)) if kind == "math" else _behind_labels("\n".join(lines[:2]))
    if pair is None:
        raise UnparsedError(f"the review has no two scores {'at its end' if kind == 'math' else 'on its first line'}")
    if max(pair) > HIGHEST:
        raise UnparsedError(f"the review has a score above {HIGHEST}")
    return pair


def verdict(text: str) -> str:
    """The letter of a verdict: A (the first response), B (the second) or C (neither).

    It stands in double brackets, or alone on the last line.

    Raises:
        UnparsedError: the reply has none, or several that differ.
    """
    plain = _plain(text)
    letters = {letter.upper() for letter in _VERDICT.findall(plain)}
    if not letters and (last := _LAST_LINE.fullmatch(plain.rstrip().rpartition("\n")[2].strip())):
        letters = {last[1]}
    if len(letters) != 1:
        raise UnparsedError("the reply has several verdicts that differ" if letters else "the reply has no verdict")
    return str(letters.pop())


def _plain(text: str) -> str:
    """A reply without thoughts, emphasis and escapes."""
    answer = split_thoughts(text).answer
    if answer is None:
        raise UnparsedError("the reply ends inside the judge's thoughts")
    return _EMPHASIS.sub("", answer.replace("\\", ""))


def _at_the_end(text: str) -> tuple[float, float] | None:
    tuples = list(_TUPLE.finditer(text[-NEAR_THE_END:]))
    return _numbers(tuples[-1]) if tuples else _behind_labels(text)


def _behind_labels(text: str) -> tuple[float, float] | None:
    """Scores behind the labels of the assistants, the last of each."""
    labelled = dict(_LABELLED.findall(text))
    return (float(labelled["1"]), float(labelled["2"])) if len(labelled) == 2 else None


def _numbers(found: re.Match[str] | None) -> tuple[float, float] | None:
    if found is None:
        return None
    first, second = (float(number) for number in found.groups() if number is not None)
    return first, second
