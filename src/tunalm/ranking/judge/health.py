"""How a judge does its work: what the record of the stage and the report say of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

from tunalm.measures.means import known_mean
from tunalm.ranking.judge.outcomes import Outcome
from tunalm.records import CanaryCounts, JudgeHealth, ReplyCounts

LOWEST_PASS_RATE = 0.9
"""Canaries of a kind that a judge must put where they belong; below that its ranks are not to be trusted."""


def health(outcomes: Sequence[Outcome], protocol: str) -> JudgeHealth:
    """Figures of a judge's work on some lists, asked in this protocol."""
    readings = [pair for outcome in outcomes for pair in outcome.readings]
    replies = [reply for outcome in outcomes for reply in outcome.replies]
    agreed = [outcome.consensus for outcome in outcomes if outcome.consensus is not None]
    by_position: defaultdict[int, list[int]] = defaultdict(list)
    for question, reading in readings:
        for position, label in enumerate(question.labels):
            if label in reading.marks:
                by_position[position].append(reading.totals[label])
    canaries = _canaries(outcomes)
    return JudgeHealth(
        protocol=protocol,
        replies=ReplyCounts(
            asked=len(replies), valid=len(readings), salvaged=sum(reading.salvaged for _, reading in readings)
        ),
        failed_replies=dict(Counter(reply for reply in replies if isinstance(reply, str)).most_common(5)),
        mean_agreement=known_mean([each.agreement for each in agreed], 4),
        flip_rate=known_mean([each.flip_rate for each in agreed], 4),
        mean_score_by_position=[round(fmean(by_position[position]), 3) for position in sorted(by_position)],
        contradictions=sum(not reading.agrees for _, reading in readings),
        partial_lists=sum(outcome.partial for outcome in outcomes),
        low_agreement_lists=sum(outcome.low_agreement for outcome in outcomes),
        degenerate=dict(Counter(why for each in outcomes for why in each.inquiry.degenerate.values())),
        canaries=canaries,
        alarms=_alarms(canaries),
    )


def _canaries(outcomes: Sequence[Outcome]) -> dict[str, CanaryCounts]:
    canaries: dict[str, CanaryCounts] = {}
    for outcome in outcomes:
        if outcome.inquiry.canary is not None:
            counts = canaries.setdefault(outcome.inquiry.canary.kind, CanaryCounts())
            counts.shown += 1
            counts.answered += outcome.canary_passed is not None
            counts.passed += outcome.canary_passed is True
    return canaries


def _alarms(canaries: Mapping[str, CanaryCounts]) -> list[str]:
    return [
        f"the judge put {counts.passed} of {counts.answered} canaries ({kind}) where they belong; "
        f"below {LOWEST_PASS_RATE:.0%} its ranks are not to be trusted"
        for kind, counts in canaries.items()
        if counts.passed < LOWEST_PASS_RATE * counts.answered
    ]
