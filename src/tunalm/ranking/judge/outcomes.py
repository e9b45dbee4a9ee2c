"""What comes of the replies about one list: its ranks and what the judge said, or the reason why it has none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tunalm.engines.base import Completion
from tunalm.ranking.base import unranked, with_ranks, with_scores
from tunalm.ranking.judge.canaries import passed
from tunalm.ranking.judge.orders import Consensus, consensus
from tunalm.ranking.judge.paper_replies import read_paper
from tunalm.ranking.judge.prompts import own_label
from tunalm.ranking.judge.questions import Inquiry, JudgeQuestion
from tunalm.ranking.judge.replies import JudgeReading, read_audited
from tunalm.recipe import Rank
from tunalm.records import UNKNOWN, Ranking

NOTHING_TO_COMPARE = "fewer than two different responses that can be judged"
LEAST_VALID = 0.5
"""Share of the orders of a list that must have valid replies; with fewer the list fails."""
OWN = "own"
"""The judge's own response in the order that it states (`paper`)."""

ReadOrReason = JudgeReading | str
"""What a reply says, or why there is no valid one."""


@dataclass(frozen=True)
class Outcome:
    """One list, judged."""

    row: Ranking
    inquiry: Inquiry
    replies: tuple[ReadOrReason, ...]
    """One per order."""
    consensus: Consensus | None = None
    low_agreement: bool = False
    canary_passed: bool | None = None
    """None: there was no canary, or no valid reply to it."""

    @property
    def readings(self) -> list[tuple[JudgeQuestion, JudgeReading]]:
        """The valid replies and what they answer."""
        pairs = zip(self.inquiry.questions, self.replies, strict=True)
        return [(question, reply) for question, reply in pairs if isinstance(reply, JudgeReading)]

    @property
    def partial(self) -> bool:
        """Whether the ranks rest on some of the orders only."""
        return self.consensus is not None and len(self.readings) < len(self.replies)


def conclude(inquiry: Inquiry, answers: Mapping[str, Completion], settings: Rank, ranked_by: str) -> Outcome:
    """Read the replies about one list and rank it by them.

    Args:
        inquiry: what was asked.
        answers: by the key of the question.
        settings: of the stage.
        ranked_by: the name of the judge.
    """
    replies = tuple(read_answer(question, answers[question.key], settings) for question in inquiry.questions)
    found = Outcome(inquiry.row, inquiry, replies, canary_passed=_canary_passed(inquiry, answers, settings))
    judgement = _judgement(found, settings)
    readings = found.readings
    if not readings or len(readings) < LEAST_VALID * len(replies):
        return replace(found, row=_failed(inquiry.row, _reason(replies), judgement))
    places = sorted(inquiry.questions[0].shown)
    totals = [_totals(question, reading) for question, reading in readings]
    agreed = consensus([[each[place] for place in places] for each in totals])
    low = _is_low(agreed.agreement, settings)
    judgement |= {
        "agreement": agreed.agreement,
        "flip_rate": agreed.flip_rate,
        "borda_ranks": _spread(inquiry, dict(zip(places, agreed.borda_ranks, strict=True))),
        "low_agreement": low,
    }
    scores = _spread(inquiry, dict(zip(places, agreed.scores, strict=True)))
    row = with_scores(inquiry.row, scores, ranked_by, judgement)
    if settings.protocol == "paper":
        row = _in_order(row, inquiry, *readings[0])
    if low and settings.low_agreement == "drop":
        reason = f"the orders agree too little: W is less than {settings.min_agreement:g}"
        row = _failed(inquiry.row, reason, judgement)
    elif low and settings.low_agreement == "weigh":
        row = row.model_copy(update={"weight": agreed.agreement})
    return replace(found, row=row, consensus=agreed, low_agreement=low)


def read_answer(question: JudgeQuestion, answer: Completion, settings: Rank) -> ReadOrReason:
    """What a judge's answer says, or why it cannot be used."""
    if answer.failure is not None:
        return answer.failure
    cut = answer.finish_reason == "length"
    try:
        if settings.protocol == "paper":
            return read_paper(answer.text, question.labels)
        return read_audited(answer.text, question.labels, whole=not cut)
    except ValueError as error:
        return f"the judge's reply was cut at {settings.max_new_tokens} tokens" if cut else str(error)


def _canary_passed(inquiry: Inquiry, answers: Mapping[str, Completion], settings: Rank) -> bool | None:
    if inquiry.canary is None or inquiry.test is None:
        return None
    reply = read_answer(inquiry.test, answers[inquiry.test.key], settings)
    return passed(inquiry.canary, _totals(inquiry.test, reply)) if isinstance(reply, JudgeReading) else None


def _reason(replies: Sequence[ReadOrReason]) -> str:
    """Why a list has no ranks: what is unknown may still be answered, so it goes first; else what is commonest."""
    reasons = [reply for reply in replies if isinstance(reply, str)]
    if not reasons:
        return NOTHING_TO_COMPARE
    unknown = [reason for reason in reasons if reason.startswith(UNKNOWN)]
    return Counter(unknown or reasons).most_common(1)[0][0]


def _failed(row: Ranking, reason: str, judgement: dict[str, Any]) -> Ranking:
    return unranked(row, reason).model_copy(update={"judgement": judgement})


def _is_low(agreement: float | None, settings: Rank) -> bool:
    return agreement is not None and settings.min_agreement is not None and agreement < settings.min_agreement


def _totals(question: JudgeQuestion, reading: JudgeReading) -> dict[int, float]:
    """Position -> sum of the marks; a response that was left out as a duplicate has that of the one kept."""
    totals = reading.totals
    return {
        place: float(totals[reading.duplicates.get(label, label)])
        for label, place in zip(question.labels, question.shown, strict=True)
    }


def _spread(inquiry: Inquiry, values: Mapping[int, Any]) -> list[Any]:
    """One value per response from those of the responses that were shown: equal texts have the same one."""
    responses = inquiry.row.responses
    by_text = {responses[place].text: value for place, value in values.items()}
    return [by_text.get(response.text) if response.is_usable else None for response in responses]


def _in_order(row: Ranking, inquiry: Inquiry, question: JudgeQuestion, reading: JudgeReading) -> Ranking:
    """The same row with the ranks that the judge states; what it left out as a duplicate has none."""
    place_of = dict(zip(question.labels, question.shown, strict=True))
    ordered = [place_of[label] for label in reading.ranking if label in place_of]
    ranks = _spread(inquiry, {place: rank for rank, place in enumerate(ordered)})
    scores = [None if rank is None else each.score for each, rank in zip(row.responses, ranks, strict=True)]
    return with_ranks(row, ranks, scores)


def _judgement(found: Outcome, settings: Rank) -> dict[str, Any]:
    """What the judge said, for `Ranking.judgement`."""
    inquiry, readings = found.inquiry, found.readings
    said = [
        {"shown": list(question.shown), **(_said(inquiry, question, reply) if isinstance(reply, JudgeReading) else {})}
        | ({"failure": reply} if isinstance(reply, str) else {})
        for question, reply in zip(inquiry.questions, found.replies, strict=True)
    ]
    judgement: dict[str, Any] = {"protocol": settings.protocol, "orders": said}
    if readings:
        judgement["kind"] = Counter(reading.kind for _, reading in readings).most_common(1)[0][0]
        judgement["reference"] = readings[0][1].reference
        judgement["ranking_agrees"] = all(reading.agrees for _, reading in readings)
        judgement["salvaged"] = sum(reading.salvaged for _, reading in readings)
    if inquiry.degenerate:
        judgement["degenerate"] = {str(place): reason for place, reason in inquiry.degenerate.items()}
    return judgement


def _said(inquiry: Inquiry, question: JudgeQuestion, reading: JudgeReading) -> dict[str, Any]:
    """One valid reply, by position in the list and no longer by label."""
    place_of: dict[str, Any] = dict(zip(question.labels, question.shown, strict=True))
    own = own_label(question.labels)
    marks = {place: reading.marks.get(label) for label, place in place_of.items()}
    said: dict[str, Any] = {
        "kind": reading.kind,
        "reference": reading.reference,
        "marks": _spread(inquiry, marks),
        "ranking": [place_of.get(label, OWN) for label in reading.ranking],
        "salvaged": reading.salvaged,
    }
    if reading.evidence:
        said["evidence"] = _spread(inquiry, {place: reading.evidence[label] for label, place in place_of.items()})
    if own in reading.marks:
        said["own_marks"] = reading.marks[own]
    if reading.duplicates:
        said["duplicates"] = {str(place_of[one]): place_of[kept] for one, kept in reading.duplicates.items()}
    return said
