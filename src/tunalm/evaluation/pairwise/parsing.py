"""Judges' replies read strictly: two scores or one verdict, or a reason why there are none. Nothing is guessed."""

from __future__ import annotations

import re

from tunalm.evaluation.pairwise.prompts import Kind

HIGHEST = 10
NEAR_THE_END = 200
"""Characters at the end of a review of mathematics in which its pair of scores must stand."""

_NUMBER = r"\d+(?:\.\d+)?"
_FIRST_LINE = re.compile(rf"({_NUMBER})[ \t,]+({_NUMBER})")
_TUPLE = re.compile(rf"\(\s*({_NUMBER})\s*,\s*({_NUMBER})\s*\)")
_LABELLED = re.compile(
    rf"Assistant ([12]):[ \t]*({_NUMBER})(?:/10)?(?=[ \t]*(?:\(|-[ \t]|[.,;]?[ \t]*$))", re.MULTILINE
)
_VERDICT = re.compile(r"\[\[([ABC])\]\]")


class UnparsedError(ValueError):
    """A reply does not hold what was asked for; the message says what is missing."""


def scores(text: str, kind: Kind) -> tuple[float, float]:
    """Scores of the first and the second answer in a review that was asked for as published.

    They stand on the first line. For mathematics they may instead be a pair `(8, 3)` near the end, as the prompt asks,
    or, as judges often write, behind `Assistant 1:` and `Assistant 2:`; of those the last ones count.

    Args:
        text: the review.
        kind: of the prompt.

    Raises:
        UnparsedError: there are none, or they are not between 0 and 10.
    """
    lines = text.strip().splitlines()
    found = _FIRST_LINE.fullmatch(lines[0].strip()) if lines else None
    if found is None and kind == "math":
        pair = _scores_at_the_end(text)
    else:
        pair = (float(found[1]), float(found[2])) if found else None
    if pair is None:
        raise UnparsedError(f"the review has no two scores {'at its end' if kind == 'math' else 'on its first line'}")
    if max(pair) > HIGHEST:
        raise UnparsedError(f"the review has a score above {HIGHEST}")
    return pair


def _scores_at_the_end(text: str) -> tuple[float, float] | None:
    ending = text.rstrip()[-NEAR_THE_END:]
    if tuples := _TUPLE.findall(ending):
        first, second = tuples[-1]
        return float(first), float(second)
    labelled = {match[1]: float(match[2]) for match in _LABELLED.finditer(text)}
    return (labelled["1"], labelled["2"]) if len(labelled) == 2 else None


def verdict(text: str) -> str:
    """The letter of a verdict: A (the first response), B (the second) or C (neither).

    Raises:
        UnparsedError: the reply has none, or several that differ.
    """
    letters: set[str] = set(_VERDICT.findall(text))
    if len(letters) != 1:
        raise UnparsedError("the reply has several verdicts that differ" if letters else "the reply has no verdict")
    return letters.pop()
