"""Replies of judges, read strictly."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunalm.evaluation.pairwise.parsing import UnparsedError, scores, verdict
from tunalm.evaluation.pairwise.prompts import PromptKind

MATH_WITH_POINTS = "The points are (2, -2) and (10, 4).\n" + "So the length is 10. " * 20


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("8 9\nThe second is better.", "general", (8, 9)),
        ("8, 9\nThe second is better.", "general", (8, 9)),
        ("8.5 9.0", "coding", (8.5, 9)),
        ("\n\n 7  3 \nwhy", "general", (7, 3)),
        ("7 3\nreasons", "math", (7, 3)),
        ("Reasons.\n(7, 3)", "math", (7, 3)),
        ("The scores are (7, 3). Assistant 1 did better.", "math", (7, 3)),
        ("Scores:\nAssistant 1: 10\nAssistant 2: 4\n\nAssistant 1 did better.", "math", (10, 4)),
        ("Assistant 1: 1/10\nAssistant 2: 2/10", "math", (1, 2)),
        ("Assistant 1: 1 (wrong)\nAssistant 2: 8 (nearly right)", "math", (1, 8)),
        ("Assistant 1: 1/10 - no steps.\n\nAssistant 2: 2/10 - some.", "math", (1, 2)),
        (f"{MATH_WITH_POINTS}\nScores:\nAssistant 1: 10\nAssistant 2: 3", "math", (10, 3)),
        ("**8 9**\nThe second is better.", "general", (8, 9)),
        ("Scores:\n\n8.0 9.0\nwhy", "general", (8, 9)),
        ("**Scores:** 8/10, 9/10", "coding", (8, 9)),
        ("(8, 9)", "general", (8, 9)),
        ("Assistant 1: 8\nAssistant 2: 9\nBecause.", "general", (8, 9)),
        ("**Assistant 1:** 8.0, **Assistant 2:** 9/10", "general", (8, 9)),
        ("Assistant 2: 9 | Assistant 1: 8", "coding", (8, 9)),
        ("<think>Perhaps 3 4.</think>\n8 9\nwhy", "general", (8, 9)),
        ("Perhaps\n3 4\n</think>8 9", "general", (8, 9)),
        ("<think>(1, 1)</think>So (7, 3).", "math", (7, 3)),
        ("Assistant 1: 3\nAssistant 2: 5\nOn second thoughts:\nAssistant 1: 6\nAssistant 2: 5", "math", (6, 5)),
    ],
)
def test_scores_where_they_were_asked_for(text: str, kind: PromptKind, expected: tuple[float, float]) -> None:
    assert scores(text, kind) == expected


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "general"),
        ("Both are good.\n8 9", "general"),
        ("8", "general"),
        ("8 9 7", "general"),
        ("Assistant 1: 8\nBetter than most.\nAssistant 2: 9", "general"),
        ("8 * 9", "general"),
        ("8,5 9,0", "general"),
        ("8 9/100", "general"),
        ("-8 9", "general"),
        ("<think>8 9\nThe second", "general"),
        ("8 90\nwhy", "general"),
        ("8 - 9", "coding"),
        (MATH_WITH_POINTS, "math"),
        ("Assistant 1: 10", "math"),
        ("Assistant 1: 3x + 10 = 5\nAssistant 2: 2 apples", "math"),
        ("Assistant 2:\n1. The first step is right.\nAssistant 1: 4", "math"),
    ],
)
def test_nothing_else_is_a_score(text: str, kind: PromptKind) -> None:
    with pytest.raises(UnparsedError):
        scores(text, kind)


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("[[A]]", "A"),
        ("A is better.\n\n[[B]]", "B"),
        ("Equal. [[C]] [[C]]", "C"),
        ("Because.\n**[[A]]**", "A"),
        ("[[**B**]]", "B"),
        (r"So: \[\[A\]\].", "A"),
        ("[[ a ]]", "A"),
        ("B is longer.\n\n**Verdict: A**", "A"),
        ("Both are right.\n[C]", "C"),
        ("<think>I would say [[A]].</think>\n[[B]]", "B"),
        ("First [[A]], no.\n</think>\n[[B]]", "B"),
    ],
)
def test_a_verdict_is_one_letter(text: str, letter: str) -> None:
    assert verdict(text) == letter


@pytest.mark.parametrize(
    "text", ["", "[[D]]", "[[A]] or [[B]]", "A is better.", "[[A]\nso", "A\nor so", "<think>So [[A]]", "a", "Vitamin C"]
)
def test_nothing_else_is_a_verdict(text: str) -> None:
    with pytest.raises(UnparsedError):
        verdict(text)


@given(st.text(), st.sampled_from(["general", "coding", "math"]))
def test_any_text_is_read_or_refused(text: str, kind: PromptKind) -> None:
    with suppress(UnparsedError):
        assert max(scores(text, kind)) <= 10
    with suppress(UnparsedError):
        assert verdict(text) in "ABC"
