"""The lists of responses that stages read: from their files, or stand-ins for what an earlier stage will make."""

from __future__ import annotations

import json

from tunalm.pipeline.estimate.tokens import TokenCounter
from tunalm.ranking.judge.canaries import PLANTED
from tunalm.ranking.judge.prompts import CRITERIA, EVIDENCE, EVIDENCE_WORDS, KINDS, Protocol
from tunalm.ranking.judge.questions import JudgeQuestion
from tunalm.records import Instruction, Ranking

JSON_CHARACTERS_PER_TOKEN = 2.5
"""Measured on replies of the form that a judge is asked for."""
FILLER = " the"
"""A token."""


def likely_text(row: Instruction, tokens: float, number: int, counter: TokenCounter) -> str:
    """A text of so many tokens that can stand for an answer; different numbers make different texts."""
    text = row.reference or ""
    known = counter.text(text)
    if known > tokens:
        text = text[: round(len(text) * tokens / known)]
    return f"{number} {text}{FILLER * round(tokens - known)}"


def judge_tokens(question: JudgeQuestion, row: Ranking, counter: TokenCounter, protocol: Protocol) -> float:
    """Tokens of a judge's reply: the form, the evidence that it may give, and its own response, taken to be as long as
    the middle one that it sees.
    """
    evidence = EVIDENCE_WORDS * len(question.labels) if protocol == "audited" else 0
    marks = {EVIDENCE: "", **dict.fromkeys(CRITERIA, 0)}
    form = {
        "kind": KINDS[0],
        "reference": "",
        "scores": dict.fromkeys(question.labels, marks),
        "ranking": question.labels,
    }
    texts = [row.responses[place].text for place in question.shown if place != PLANTED]
    texts += [] if row.reference is None else [row.reference]
    own = sorted(map(counter.text, texts))[len(texts) // 2] if texts else 0
    return own + evidence + len(json.dumps(form)) / JSON_CHARACTERS_PER_TOKEN
